package main

import (
	"fmt"
	"os"
	"strings"
)

// Mount is one line of mountinfo (proc_pid_mountinfo(5)).
type Mount struct {
	Target string `json:"target"`
	// The directory of the mounted file system that is seen at Target.
	Root    string   `json:"root"`
	FSType  string   `json:"fstype"`
	Options []string `json:"options"`
}

func (mount Mount) readOnly() bool {
	for _, option := range mount.Options {
		if option == "ro" {
			return true
		}
	}
	return false
}

func mounts(facts *Facts) error {
	content, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	for _, row := range strings.Split(strings.TrimSpace(string(content)), "\n") {
		before, after, found := strings.Cut(row, " - ")
		head, tail := strings.Fields(before), strings.Fields(after)
		if !found || len(head) < 6 || len(tail) < 1 {
			return fmt.Errorf("a line of /proc/self/mountinfo can't be read")
		}
		facts.Mounts = append(facts.Mounts, Mount{
			Target: unescape.Replace(head[4]), Root: unescape.Replace(head[3]),
			FSType: tail[0], Options: strings.Split(head[5], ","),
		})
	}
	return nil
}

// mountinfo writes these four characters in octal.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// Paths that tell of the machine or change it; the engine hides the first and makes the second read-only.
var (
	hidden = []string{
		"/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug", "/proc/scsi",
		"/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
	}
	protected = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", "/sys"}
)

func kernelPaths(facts *Facts) error {
	over := map[string]Mount{}
	for _, mount := range facts.Mounts {
		over[mount.Target] = mount // The last one mounted is the one that is seen.
	}
	facts.UnmaskedPaths = []string{}
	facts.WritablePaths = []string{}
	for _, path := range hidden {
		if _, masked := over[path]; !masked && exists(path) {
			facts.UnmaskedPaths = append(facts.UnmaskedPaths, path)
		}
	}
	for _, path := range protected {
		if mount, mounted := over[path]; exists(path) && !(mounted && mount.readOnly()) {
			facts.WritablePaths = append(facts.WritablePaths, path)
		}
	}
	return nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !os.IsNotExist(err)
}
