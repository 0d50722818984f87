package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

const maxRequestBytes = 4 << 10

type beginRequest struct {
	UnixTimeMs int64  `json:"unixTimeMs"`
	Entropy    []byte `json:"entropy"` // 32 bytes, in base64
	// Of the container that runs already; empty where none does, or where it has its name.
	Hostname string `json:"hostname"`
}

type beginAnswer struct {
	BootID        string `json:"bootId"`
	KernelRelease string `json:"kernelRelease"`
}

// begin makes this machine one of its own, before any program of the agent runs or goes on: the clock, the random generator, the
// container's name. A machine that was just copied shares all of these with the one that was saved, and one that was paused is behind.
func begin(w http.ResponseWriter, r *http.Request) {
	var request beginRequest
	if err := decodeStrict(r.Body, &request); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer, err := beginSession(request)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	writeJSON(w, answer)
}

func beginSession(request beginRequest) (beginAnswer, error) {
	now := syscall.NsecToTimeval(request.UnixTimeMs * int64(time.Millisecond))
	if err := syscall.Settimeofday(&now); err != nil {
		return beginAnswer{}, fmt.Errorf("set the clock: %w", err)
	}
	if err := seedRandom(request.Entropy); err != nil {
		return beginAnswer{}, fmt.Errorf("seed the random generator: %w", err)
	}
	if request.Hostname != "" {
		if err := renameContainer(request.Hostname); err != nil {
			return beginAnswer{}, fmt.Errorf("name the container: %w", err)
		}
	}
	bootID, err := readLine("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return beginAnswer{}, err
	}
	release, err := readLine("/proc/sys/kernel/osrelease")
	if err != nil {
		return beginAnswer{}, err
	}
	goOn()
	return beginAnswer{bootID, release}, nil
}

// engine answers once the container engine does.
func engine(w http.ResponseWriter, r *http.Request) {
	if err := engineAnswers(r.Context()); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	writeJSON(w, struct{}{})
}

const (
	rndAddEntropy = 0x40085203
	rndReseedCRNG = 0x5207
)

func seedRandom(entropy []byte) error {
	if len(entropy) != 32 {
		return errors.New("entropy must be 32 bytes")
	}
	device, err := os.OpenFile("/dev/urandom", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer device.Close()
	var pool [8 + 32]byte // struct rand_pool_info: bits of entropy, size in bytes, bytes
	binary.NativeEndian.PutUint32(pool[0:], 32*8)
	binary.NativeEndian.PutUint32(pool[4:], 32)
	copy(pool[8:], entropy)
	if err := ioctl(device.Fd(), rndAddEntropy, unsafe.Pointer(&pool[0])); err != nil {
		return err
	}
	return ioctl(device.Fd(), rndReseedCRNG, nil)
}

func engineAnswers(ctx context.Context) error {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", dockerSocket)
		},
	}}
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://docker/_ping", nil)
		if err != nil {
			return err
		}
		if response, err := client.Do(request); err == nil {
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// decodeStrict reads exactly one small JSON value without unknown fields.
func decodeStrict(body io.Reader, value any) error { return decodeUpTo(maxRequestBytes, body, value) }

func decodeUpTo(maxBytes int64, body io.Reader, value any) error {
	decoder := json.NewDecoder(io.LimitReader(body, maxBytes))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(value); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one JSON value, or one that is too long")
	}
	return nil
}

func writeJSON(w http.ResponseWriter, value any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(value); err != nil {
		report("answer: %v", err)
	}
}

func readLine(path string) (string, error) {
	content, err := os.ReadFile(path)
	return strings.TrimSpace(string(content)), err
}
