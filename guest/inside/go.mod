module glovebox/inside

go 1.24
