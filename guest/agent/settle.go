package main

import (
	"net/http"
	"sync"
	"sync/atomic"
)

const markerBytes = 32

type settleRequest struct {
	// What the host of a copy will greet with: random, in base64.
	Marker []byte `json:"marker"`
}

// The marker by which this machine will know that it is a copy; nil but between `settle` and `begin`.
var settled atomic.Pointer[[]byte]

// The container's standstill from `settle` to `begin`.
var standstill pause

type pause struct {
	mutex sync.Mutex
	end   func()
}

// over lets the container go on; the caller holds the lock.
func (p *pause) over() {
	if p.end != nil {
		p.end()
		p.end = nil
	}
}

// settle prepares for being saved. The container stands still until `begin`, so that a copy's programs don't go on before it has
// randomness and a name of its own.
func settle(w http.ResponseWriter, r *http.Request) {
	var request settleRequest
	if err := decodeStrict(r.Body, &request); err != nil || len(request.Marker) != markerBytes {
		http.Error(w, "not a marker", http.StatusBadRequest)
		return
	}
	// Frozen before it has connected it never would, and no copy could be given a name.
	if _, err := containerRunner(); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	standstill.mutex.Lock()
	defer standstill.mutex.Unlock()
	if standstill.end == nil {
		thaw, frozen, err := freeze()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		standstill.end = thaw
		if !frozen {
			standstill.over()
			http.Error(w, "the container does not come to a stop", http.StatusInternalServerError)
			return
		}
	}
	// A host that gave up meanwhile may have begun again already, and would not do so once more.
	if r.Context().Err() != nil {
		standstill.over()
		return
	}
	settled.Store(&request.Marker)
	writeJSON(w, struct{}{})
}

// goOn ends what `settle` began, if it did.
func goOn() {
	standstill.mutex.Lock()
	defer standstill.mutex.Unlock()
	settled.Store(nil)
	standstill.over()
}
