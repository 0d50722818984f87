package main

import (
	"os"
	"strings"
)

// Facts are what the gateway judges (src/engine/attest.ts holds the same shape). A list is never null.
type Facts struct {
	BootID        string `json:"bootId"`
	KernelRelease string `json:"kernelRelease"`
	// Of the container; the gateway chose it for this machine.
	Hostname string `json:"hostname"`

	// Real, effective, saved and file system ids.
	UIDs         []int             `json:"uids"`
	GIDs         []int             `json:"gids"`
	Groups       []int             `json:"groups"`
	Capabilities map[string]string `json:"capabilities"`
	NoNewPrivs   bool              `json:"noNewPrivs"`
	// 0 off, 1 strict, 2 filter.
	SeccompMode int `json:"seccompMode"`

	Mounts []Mount `json:"mounts"`
	// Kernel paths that are neither absent nor hidden below a mount, and those that are not below a read-only one.
	UnmaskedPaths []string `json:"unmaskedPaths"`
	WritablePaths []string `json:"writablePaths"`
	// Container engines' sockets that can be seen.
	Sockets    []string `json:"sockets"`
	Interfaces []string `json:"interfaces"`
	Routes     []string `json:"routes"`
	// Device nodes below /dev.
	Devices []string `json:"devices"`

	// Absent when there is no limit.
	PidsMax        *int64 `json:"pidsMax,omitempty"`
	MemoryMaxBytes *int64 `json:"memoryMaxBytes,omitempty"`
}

// attest gathers every fact or fails: a fact that can't be read must not look like a good one.
func attest() (Facts, error) {
	facts := Facts{Capabilities: map[string]string{}}
	steps := []func(*Facts) error{kernel, identity, mounts, kernelPaths, sockets, network, devices, limits}
	for _, step := range steps {
		if err := step(&facts); err != nil {
			return Facts{}, err
		}
	}
	return facts, nil
}

func kernel(facts *Facts) (err error) {
	if facts.BootID, err = line("/proc/sys/kernel/random/boot_id"); err != nil {
		return err
	}
	if facts.KernelRelease, err = line("/proc/sys/kernel/osrelease"); err != nil {
		return err
	}
	facts.Hostname, err = line("/proc/sys/kernel/hostname")
	return err
}

// line is a one-line file's content.
func line(path string) (string, error) {
	content, err := os.ReadFile(path)
	return strings.TrimSpace(string(content)), err
}
