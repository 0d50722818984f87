package main

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
)

// inNamespace does something on a thread that has entered one namespace of a process, and is thrown away.
func inNamespace(pid int, name string, kind uintptr, do func() error) error {
	namespace, err := os.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, name))
	if err != nil {
		return err
	}
	defer namespace.Close()
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		if _, _, errno := syscall.RawSyscall(setns, namespace.Fd(), kind, 0); errno != 0 {
			result <- errno
			return
		}
		result <- do()
	}()
	return <-result
}
