package main

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// How long a container with hundreds of running processes may take to come to a stop.
const freezeDeadline = 10 * time.Second

// Those who want the containers to stand still; they go on when there is none left.
var freezers struct {
	mutex sync.Mutex
	count int
}

// freeze stops all processes of the machine's containers; they can be killed while they are stopped. One that does not come to a stop
// in time is left to run: `frozen` tells.
func freeze() (thaw func(), frozen bool, err error) {
	freezers.mutex.Lock()
	defer freezers.mutex.Unlock()
	cgroups, err := filepath.Glob("/sys/fs/cgroup/docker/*/cgroup.freeze")
	if err != nil {
		return nil, false, err
	}
	freezers.count++
	if freezers.count == 1 {
		setFreezer(cgroups, "1")
	}
	deadline := time.Now().Add(freezeDeadline)
	for frozen = areFrozen(cgroups); !frozen && time.Now().Before(deadline); frozen = areFrozen(cgroups) {
		time.Sleep(time.Millisecond)
	}
	return func() {
		freezers.mutex.Lock()
		defer freezers.mutex.Unlock()
		freezers.count--
		if freezers.count == 0 {
			setFreezer(cgroups, "0")
		}
	}, frozen, nil
}

func setFreezer(cgroups []string, value string) {
	for _, file := range cgroups {
		if err := os.WriteFile(file, []byte(value), 0); err != nil {
			report("%v", err)
		}
	}
}

func areFrozen(cgroups []string) bool {
	for _, file := range cgroups {
		events, err := os.ReadFile(filepath.Join(filepath.Dir(file), "cgroup.events"))
		if err == nil && !strings.Contains(string(events), "frozen 1") {
			return false
		}
	}
	return true
}
