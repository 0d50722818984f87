package main

import (
	"net/http"
	"os"
	"sync/atomic"
	"syscall"
)

type settleRequest struct {
	// What the next host is greeted with: random, in base64.
	Marker []byte `json:"marker"`
}

// The marker for the next host, once the present one has announced that it saves this machine: its connection may then end without
// the machine ending.
var settled atomic.Pointer[[]byte]

// settle prepares for being saved and copied: what is not on disk yet goes there, and what can be read again is dropped, so that
// there is less to save.
func settle(w http.ResponseWriter, r *http.Request) {
	var request settleRequest
	if err := decodeStrict(r.Body, &request); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	syscall.Sync()
	if err := os.WriteFile("/proc/sys/vm/drop_caches", []byte("3"), 0); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	settled.Store(&request.Marker)
	writeJSON(w, struct{}{})
}
