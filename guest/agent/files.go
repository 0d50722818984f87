package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"syscall"
)

// Files of the container, read and written from outside it: no program of its own is needed, so this works when the container is out
// of processes or memory. A path is walked name by name, each opened below the directory that is open already: no link is followed,
// and nothing that a program swaps meanwhile leads elsewhere. It acts as root: modes keep nobody out who may use the file tools.

const fileHeadBytes = 64 << 10

type fileRequest struct {
	// "stat", "read" or "write".
	Act string `json:"act"`
	// Absolute and normalised.
	Path string `json:"path"`
	// Of read: what is longer is cut after one byte more.
	MaxBytes int64 `json:"maxBytes"`
	// Of write. The size is told because a transfer that is broken off can look as if it had come to its end.
	SizeBytes     int64  `json:"sizeBytes"`
	Mode          uint32 `json:"mode"`
	CreateParents bool   `json:"createParents"`
}

// The messages to the host: one of the fields is there.
type fileMessage struct {
	Entry  *fileEntry  `json:"entry,omitempty"`
	Failed *fileFailed `json:"failed,omitempty"`
	Done   bool        `json:"done,omitempty"`
}

type fileEntry struct {
	Kind       string `json:"kind"` // file, directory, link or other
	SizeBytes  int64  `json:"sizeBytes"`
	Mode       uint32 `json:"mode"`
	ModifiedMs int64  `json:"modifiedMs"`
	// Of a link.
	Target string `json:"target"`
}

// fileFailed says what is wrong with which part of the path.
type fileFailed struct {
	// LINK, NOT_DIRECTORY, NOT_FILE, or an errno's name.
	Code   string `json:"code"`
	Path   string `json:"path"`
	Kind   string `json:"kind"`
	Target string `json:"target"`
}

func (f fileFailed) Error() string { return f.Code + " " + f.Path }

func file(w http.ResponseWriter, r *http.Request) {
	var request fileRequest
	if err := readHead(r.Body, fileHeadBytes, &request); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	out := newFrames(w)
	answer(out, request.Path, request.serve(r.Body, out))
}

// answer tells the host how its question about `path` ended.
func answer(out *frames, path string, err error) {
	var failed fileFailed
	if err == nil {
		out.message(fileMessage{Done: true})
	} else if errors.As(err, &failed) {
		if failed.Kind == "link" {
			failed.Target = whereLinkLeads(failed.Path)
		}
		out.message(fileMessage{Failed: &failed})
	} else {
		out.message(fileMessage{Failed: &fileFailed{Code: codeOf(err), Path: path}})
	}
}

func (r fileRequest) serve(body io.Reader, out *frames) error {
	names, err := namesOf(r.Path)
	if err != nil {
		return err
	}
	place, err := startWalk()
	if err != nil {
		return err
	}
	defer func() { place.directory.Close() }() // the one that the walk ends in
	if r.Act == "write" {
		return place.write(names, r, body)
	}
	node, err := place.find(names)
	if err != nil {
		return err
	}
	defer node.Close()
	entry, err := describe(node)
	if err != nil {
		return err
	}
	if r.Act == "stat" {
		if entry.Kind == "link" {
			entry.Target = whereLinkLeads(r.Path)
		}
		out.message(fileMessage{Entry: &entry})
		return nil
	}
	return r.read(node, entry, out)
}

func (r fileRequest) read(node *os.File, entry fileEntry, out *frames) error {
	if entry.Kind != "file" {
		return fileFailed{Code: "NOT_FILE", Path: r.Path, Kind: entry.Kind, Target: entry.Target}
	}
	out.message(fileMessage{Entry: &entry})
	if entry.SizeBytes > r.MaxBytes {
		return nil
	}
	// The node itself, whatever its name leads to by now.
	content, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", node.Fd()), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer content.Close()
	limited, buffer := io.LimitReader(content, r.MaxBytes+1), make([]byte, 64<<10)
	for {
		n, err := limited.Read(buffer)
		if n > 0 {
			if err := out.write(frameStdout, buffer[:n]); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// write replaces the file as a whole or not at all: its content goes into a new file beside it, which then takes its name.
func (w *walk) write(names []string, r fileRequest, body io.Reader) error {
	if len(names) == 0 {
		return fileFailed{Code: "NOT_FILE", Path: "/", Kind: "directory"}
	}
	for _, name := range names[:len(names)-1] {
		step := w.enter
		if r.CreateParents {
			step = w.enterOrMake
		}
		if err := step(name); err != nil {
			return err
		}
	}
	name := names[len(names)-1]
	if err := w.mayReplace(name); err != nil {
		return err
	}
	directory := int(w.directory.Fd())
	draft, err := draftName()
	if err != nil {
		return err
	}
	fd, err := syscall.Openat(directory, draft, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_EXCL|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return err
	}
	content := os.NewFile(uintptr(fd), draft)
	defer content.Close()
	written, err := io.Copy(content, io.LimitReader(body, r.SizeBytes+1))
	if err == nil && written != r.SizeBytes {
		err = fmt.Errorf("%d bytes came instead of %d", written, r.SizeBytes)
	}
	if err == nil {
		err = errors.Join(content.Chown(agentUser, agentUser), syscall.Fchmod(fd, r.Mode&0o777))
	}
	if err == nil {
		err = syscall.Renameat(directory, draft, directory, name)
	}
	if err != nil {
		return errors.Join(err, unlinkAt(directory, draft))
	}
	return nil
}

// draftName is that of a file that is not complete yet.
func draftName() (string, error) {
	var random [12]byte
	_, err := rand.Read(random[:])
	return ".glovebox-" + hex.EncodeToString(random[:]), err
}

// mayReplace refuses what is there and no file.
func (w *walk) mayReplace(name string) error {
	node, err := w.look(name)
	var failed fileFailed
	if errors.As(err, &failed) && failed.Code == "ENOENT" {
		return nil
	}
	if err != nil {
		return err
	}
	defer node.Close()
	entry, err := describe(node)
	if err == nil && entry.Kind != "file" {
		err = fileFailed{Code: "NOT_FILE", Path: path.Join(w.path, name), Kind: entry.Kind, Target: entry.Target}
	}
	return err
}
