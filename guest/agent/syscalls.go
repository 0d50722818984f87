package main

import (
	"runtime"
	"syscall"
	"unsafe"
)

// What package syscall has no names for.

const oPath = 0x200000 // the same on both architectures

var (
	finitModule = map[string]uintptr{"amd64": 313, "arm64": 273}[runtime.GOARCH]
	setns       = map[string]uintptr{"amd64": 308, "arm64": 268}[runtime.GOARCH]
	bpf         = map[string]uintptr{"amd64": 321, "arm64": 280}[runtime.GOARCH]
	memfdCreate = map[string]uintptr{"amd64": 319, "arm64": 279}[runtime.GOARCH]
)

func unlinkAt(directory int, name string) error {
	text, err := syscall.BytePtrFromString(name)
	if err != nil {
		return err
	}
	if _, _, errno := syscall.Syscall(syscall.SYS_UNLINKAT, uintptr(directory), uintptr(unsafe.Pointer(text)), 0); errno != 0 {
		return errno
	}
	return nil
}

func symlinkAt(target string, directory int, name string) error {
	from, err := syscall.BytePtrFromString(target)
	if err != nil {
		return err
	}
	to, err := syscall.BytePtrFromString(name)
	if err != nil {
		return err
	}
	if _, _, errno := syscall.Syscall(syscall.SYS_SYMLINKAT, uintptr(unsafe.Pointer(from)), uintptr(directory), uintptr(unsafe.Pointer(to))); errno != 0 {
		return errno
	}
	return nil
}

// readLinkOf reads the link that is open as `fd` (with O_PATH and O_NOFOLLOW).
func readLinkOf(fd int) (string, error) {
	buffer, empty := make([]byte, 4096), [1]byte{}
	n, _, errno := syscall.Syscall6(syscall.SYS_READLINKAT, uintptr(fd), uintptr(unsafe.Pointer(&empty[0])),
		uintptr(unsafe.Pointer(&buffer[0])), uintptr(len(buffer)), 0, 0)
	if errno != 0 {
		return "", errno
	}
	return string(buffer[:n]), nil
}
