package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Where container engines listen; every socket below /run is listed besides.
var engineSockets = []string{
	"/docker.sock", "/var/run/docker.sock", "/var/run/containerd/containerd.sock", "/var/run/crio/crio.sock",
	"/var/run/podman/podman.sock", "/host/run/docker.sock", "/host/var/run/docker.sock",
}

func sockets(facts *Facts) error {
	facts.Sockets = []string{}
	for _, path := range engineSockets {
		if info, err := os.Stat(path); err == nil && info.Mode()&fs.ModeSocket != 0 {
			facts.Sockets = append(facts.Sockets, path)
		}
	}
	found, err := below("/run", fs.ModeSocket)
	facts.Sockets = append(facts.Sockets, found...)
	return err
}

// network lists interfaces and routes of this network namespace; routes through lo lead nowhere and are left out.
func network(facts *Facts) error {
	facts.Interfaces, facts.Routes = []string{}, []string{}
	devices, err := rows("/proc/self/net/dev")
	if err != nil {
		return err
	}
	for _, row := range devices {
		if name, _, found := strings.Cut(row, ":"); found {
			facts.Interfaces = append(facts.Interfaces, strings.TrimSpace(name))
		}
	}
	ipv4, err := rows("/proc/self/net/route")
	if err != nil {
		return err
	}
	for _, row := range ipv4 {
		if fields := strings.Fields(row); len(fields) > 2 && fields[0] != "Iface" && fields[0] != "lo" {
			facts.Routes = append(facts.Routes, fields[0]+" "+fields[1])
		}
	}
	ipv6, err := rows("/proc/self/net/ipv6_route")
	if errors.Is(err, fs.ErrNotExist) { // A kernel without IPv6.
		return nil
	}
	for _, row := range ipv6 {
		if fields := strings.Fields(row); len(fields) > 9 && fields[9] != "lo" {
			facts.Routes = append(facts.Routes, fields[9]+" "+fields[0])
		}
	}
	return err
}

func devices(facts *Facts) (err error) {
	facts.Devices, err = below("/dev", fs.ModeDevice)
	return err
}

// limits reads cgroup v2, whose root is the container's own: its cgroup namespace is private.
func limits(facts *Facts) (err error) {
	if facts.PidsMax, err = limit("/sys/fs/cgroup/pids.max"); err != nil {
		return err
	}
	facts.MemoryMaxBytes, err = limit("/sys/fs/cgroup/memory.max")
	return err
}

func limit(path string) (*int64, error) {
	text, err := line(path)
	if errors.Is(err, fs.ErrNotExist) || text == "max" {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	value, err := strconv.ParseInt(text, 10, 64)
	return &value, err
}

// below lists the entries of one type in a directory tree. What can't be entered is the image's own and is passed over.
func below(root string, kind fs.FileMode) ([]string, error) {
	found := []string{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && entry.Type()&kind != 0 {
			found = append(found, path)
		}
		return err
	})
	return found, err
}

func rows(path string) ([]string, error) {
	content, err := os.ReadFile(path)
	return strings.Split(strings.TrimSpace(string(content)), "\n"), err
}
