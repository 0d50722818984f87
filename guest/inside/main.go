// Command inside is the only program of ours in the agent's container: its first process (`pause`) and the witness that
// tells how the container is confined as seen from within (`attest`). It is static and mounted read-only over the image, so
// that neither depends on what an image holds.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 2 {
		fail(fmt.Errorf("usage: inside pause|attest"))
	}
	switch os.Args[1] {
	case "pause":
		pause()
	case "attest":
		facts, err := attest()
		if err != nil {
			fail(err)
		}
		if err := json.NewEncoder(os.Stdout).Encode(facts); err != nil {
			fail(err)
		}
	default:
		fail(fmt.Errorf("unknown subcommand"))
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "inside:", err)
	os.Exit(1)
}
