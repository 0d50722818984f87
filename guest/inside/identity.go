package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

var capabilitySets = map[string]string{
	"CapInh": "inheritable",
	"CapPrm": "permitted",
	"CapEff": "effective",
	"CapBnd": "bounding",
	"CapAmb": "ambient",
}

// identity reads who this process is, which is who every program of the agent is: all are started alike.
func identity(facts *Facts) error {
	content, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, row := range strings.Split(string(content), "\n") {
		name, value, _ := strings.Cut(row, ":")
		value = strings.TrimSpace(value)
		seen[name] = true
		if set, ok := capabilitySets[name]; ok {
			facts.Capabilities[set] = value
			continue
		}
		switch name {
		case "Uid":
			facts.UIDs, err = numbers(value)
		case "Gid":
			facts.GIDs, err = numbers(value)
		case "Groups":
			facts.Groups, err = numbers(value)
		case "NoNewPrivs":
			facts.NoNewPrivs = value == "1"
		case "Seccomp":
			facts.SeccompMode, err = strconv.Atoi(value)
		}
		if err != nil {
			return err
		}
	}
	for _, name := range []string{"Uid", "Gid", "Groups", "NoNewPrivs", "Seccomp"} {
		if !seen[name] {
			return fmt.Errorf("/proc/self/status has no %s", name)
		}
	}
	if len(facts.Capabilities) != len(capabilitySets) {
		return fmt.Errorf("/proc/self/status lacks a capability set")
	}
	return nil
}

func numbers(text string) ([]int, error) {
	found := []int{}
	for _, field := range strings.Fields(text) {
		number, err := strconv.Atoi(field)
		if err != nil {
			return nil, err
		}
		found = append(found, number)
	}
	return found, nil
}
