package main

import (
	"os/signal"
	"time"
)

// pause is the container's process 1. It does nothing, for ever, and needs no init beside it: ignoring SIGCHLD makes the
// kernel reap every orphan, and ignoring the rest keeps the agent's `kill 1` from ending its own session. The engine ends
// the container with SIGKILL from outside, which no process can ignore.
func pause() {
	signal.Ignore()
	for {
		time.Sleep(24 * time.Hour)
	}
}
