// Command inside tells how the agent's container is confined as seen from within. It is static and mounted read-only over the image,
// so that it does not depend on what an image holds.
package main

import (
	"encoding/json"
	"fmt"
	"os"
)

func main() {
	if len(os.Args) != 2 || os.Args[1] != "attest" {
		fail(fmt.Errorf("usage: inside attest"))
	}
	facts, err := attest()
	if err != nil {
		fail(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(facts); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "inside:", err)
	os.Exit(1)
}
