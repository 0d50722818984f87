package main

import (
	"net/http"
	"os"
	"sync/atomic"
	"syscall"
)

// Whether the host has announced that it saves this machine: its connection may end once without the machine ending.
var settled atomic.Bool

// settle prepares for being saved and copied: what is not on disk yet goes there, and what can be read again is dropped, so that
// there is less to save.
func settle(w http.ResponseWriter, r *http.Request) {
	syscall.Sync()
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	settled.Store(true)
	writeJSON(w, struct{}{})
}
