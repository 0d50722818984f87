module glovebox/agent

go 1.24
