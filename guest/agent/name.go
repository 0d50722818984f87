package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"syscall"
)

var validName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)

// renameContainer gives the machine's one container another host name: in the kernel, and in the file that the engine mounted.
func renameContainer(name string) error {
	if !validName.MatchString(name) {
		return errors.New("not a host name")
	}
	directories, err := filepath.Glob("/var/lib/docker/containers/*")
	if err != nil {
		return err
	}
	if len(directories) != 1 {
		return fmt.Errorf("there are %d containers", len(directories))
	}
	// In place: the container has this very file mounted.
	if err := os.WriteFile(filepath.Join(directories[0], "hostname"), []byte(name+"\n"), 0); err != nil {
		return err
	}
	runner, err := containerRunner()
	if err != nil {
		return err
	}
	return setHostname(runner.pid, name)
}

func setHostname(pid int, name string) error {
	return inNamespace(pid, "uts", syscall.CLONE_NEWUTS, func() error { return syscall.Sethostname([]byte(name)) })
}
