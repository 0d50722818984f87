package main

import (
	"net/http"
	"os"
	"sync"
)

const (
	maxTrustBytes = 4 << 20
	// Mounted into the container: all authorities that its programs trust, and those that it wouldn't know of otherwise.
	allAuthorities   = "/run/glovebox/authorities.pem"
	extraAuthorities = "/run/glovebox/extra-authorities.pem"
)

type trustRequest struct {
	// What the host trusts, the same for all sessions; left out, it stays as it is.
	Known *knownAuthorities `json:"known"`
	// The session's own authority; may be empty.
	Own string `json:"own"`
}

// Certificates in PEM.
type knownAuthorities struct {
	All   string `json:"all"`
	Extra string `json:"extra"`
}

var trusted struct {
	mutex sync.Mutex
	known knownAuthorities
}

// trust sets the authorities whose certificates the container's programs accept. Of the session's own the key stays with the host.
func trust(w http.ResponseWriter, r *http.Request) {
	var request trustRequest
	if err := decodeUpTo(maxTrustBytes, r.Body, &request); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	trusted.mutex.Lock()
	defer trusted.mutex.Unlock()
	if request.Known != nil {
		trusted.known = *request.Known
	}
	for path, content := range map[string]string{
		allAuthorities:   trusted.known.All + request.Own,
		extraAuthorities: trusted.known.Extra + request.Own,
	} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	writeJSON(w, struct{}{})
}

// makeAuthorities makes the files that the container will have mounted: they stay the same ones, with other contents.
func makeAuthorities() error {
	for _, path := range []string{allAuthorities, extraAuthorities} {
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			return err
		}
	}
	return nil
}
