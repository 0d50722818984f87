package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
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

// The thread enters the container's namespace of names, and is thrown away.
func setHostname(pid int, name string) error {
	namespace, err := os.Open(fmt.Sprintf("/proc/%d/ns/uts", pid))
	if err != nil {
		return err
	}
	defer namespace.Close()
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if _, _, errno := syscall.RawSyscall(setns, namespace.Fd(), syscall.CLONE_NEWUTS, 0); errno != 0 {
			result <- errno
			return
		}
		result <- syscall.Sethostname([]byte(name))
	}()
	return <-result
}
