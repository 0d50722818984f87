package main

import (
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"syscall"
)

// namesOf takes a normalised absolute path apart. The host has checked it; a machine's root must not depend on that.
func namesOf(name string) ([]string, error) {
	if !path.IsAbs(name) || path.Clean(name) != name || strings.ContainsRune(name, 0) {
		return nil, errors.New("not a normalised path")
	}
	if name == "/" {
		return nil, nil
	}
	names := strings.Split(name[1:], "/")
	switch names[0] {
	case "proc", "sys", "dev":
		if len(names) > 1 {
			return nil, fileFailed{Code: "ENOENT", Path: name}
		}
	}
	return names, nil
}

// walk stands in a directory of the container.
type walk struct {
	directory *os.File
	path      string
}

func startWalk() (*walk, error) {
	runner, err := containerRunner()
	if err != nil {
		return nil, err
	}
	root, err := openNode(-1, fmt.Sprintf("/proc/%d/root", runner.pid), 0)
	return &walk{directory: root, path: "/"}, err
}

const maxLinks = 40 // the kernel's own limit

// whereLinkLeads answers where the link at `from` leads in the end, for people to read; "" when it leads in a circle. Nothing is opened
// by what it answers.
func whereLinkLeads(from string) string {
	at := from
	for range maxLinks {
		link, target := firstLink(at)
		if link == "" {
			return at
		}
		if !path.IsAbs(target) {
			target = path.Join(path.Dir(link), target)
		}
		at = path.Join("/", target, strings.TrimPrefix(at, link))
	}
	return ""
}

// firstLink answers the outermost link in a path, and what is stored in it.
func firstLink(name string) (link, target string) {
	names, err := namesOf(name)
	if err != nil {
		return "", ""
	}
	place, err := startWalk()
	if err != nil {
		return "", ""
	}
	defer func() { place.directory.Close() }()
	node, err := place.find(names)
	var failed fileFailed
	if errors.As(err, &failed) && failed.Code == "LINK" {
		return failed.Path, failed.Target
	}
	if err != nil {
		return "", ""
	}
	defer node.Close()
	if entry, err := describe(node); err == nil && entry.Kind == "link" {
		return name, entry.Target
	}
	return "", ""
}

// openNode opens a name for looking at it: a link itself, a pipe or device without touching it.
func openNode(directory int, name string, flags int) (*os.File, error) {
	for {
		fd, err := syscall.Openat(directory, name, oPath|syscall.O_CLOEXEC|flags, 0)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		return os.NewFile(uintptr(fd), name), nil
	}
}

// look opens a name of the directory; its error names the path.
func (w *walk) look(name string) (*os.File, error) {
	node, err := openNode(int(w.directory.Fd()), name, syscall.O_NOFOLLOW)
	if err != nil {
		return nil, fileFailed{Code: codeOf(err), Path: path.Join(w.path, name)}
	}
	return node, nil
}

// below opens a directory of the directory; a link to one is refused.
func (w *walk) below(name string) (*walk, error) {
	node, err := w.look(name)
	if err != nil {
		return nil, err
	}
	entry, err := describe(node)
	if err == nil && entry.Kind == "link" {
		err = fileFailed{Code: "LINK", Path: path.Join(w.path, name), Kind: entry.Kind, Target: entry.Target}
	} else if err == nil && entry.Kind != "directory" {
		err = fileFailed{Code: "NOT_DIRECTORY", Path: path.Join(w.path, name), Kind: entry.Kind}
	}
	if err != nil {
		node.Close()
		return nil, err
	}
	return &walk{directory: node, path: path.Join(w.path, name)}, nil
}

// belowOrMake makes the directory, as the agent's, where there is nothing.
func (w *walk) belowOrMake(name string) (*walk, error) {
	next, err := w.below(name)
	var failed fileFailed
	if !errors.As(err, &failed) || failed.Code != "ENOENT" {
		return next, err
	}
	// That somebody else was first is what the second look finds out.
	made := syscall.Mkdirat(int(w.directory.Fd()), name, 0o755)
	if made != nil && !errors.Is(made, syscall.EEXIST) {
		return nil, made
	}
	if next, err = w.below(name); err != nil || made != nil {
		return next, err
	}
	if err := os.Chown(fmt.Sprintf("/proc/self/fd/%d", next.directory.Fd()), agentUser, agentUser); err != nil {
		next.directory.Close()
		return nil, err
	}
	return next, nil
}

// enter goes into a directory below, and leaves the one it was in.
func (w *walk) enter(name string) error {
	next, err := w.below(name)
	if err == nil {
		w.directory.Close()
		*w = *next
	}
	return err
}

func (w *walk) enterOrMake(name string) error {
	next, err := w.belowOrMake(name)
	if err == nil {
		w.directory.Close()
		*w = *next
	}
	return err
}

// find opens what is at the path itself.
func (w *walk) find(names []string) (*os.File, error) {
	if len(names) == 0 {
		return openNode(int(w.directory.Fd()), ".", syscall.O_NOFOLLOW)
	}
	for _, name := range names[:len(names)-1] {
		if err := w.enter(name); err != nil {
			return nil, err
		}
	}
	return w.look(names[len(names)-1])
}

func describe(node *os.File) (fileEntry, error) {
	info, err := node.Stat()
	if err != nil {
		return fileEntry{}, err
	}
	entry := fileEntry{Kind: "other", SizeBytes: info.Size(), Mode: uint32(info.Mode().Perm()), ModifiedMs: info.ModTime().UnixMilli()}
	switch info.Mode().Type() {
	case 0:
		entry.Kind = "file"
	case os.ModeDir:
		entry.Kind = "directory"
	case os.ModeSymlink:
		entry.Kind = "link"
		entry.Target, err = readLinkOf(int(node.Fd()))
	}
	return entry, err
}
