package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"
)

type terminalSize struct {
	Columns uint16 `json:"columns"`
	Rows    uint16 `json:"rows"`
}

const (
	ptmxDevice  = 5<<8 | 2
	devptsMagic = 0x1cd1
	// The same on both architectures.
	tiocSetWindow = 0x5414
	tiocSetLock   = 0x40045431
	tiocGetPeer   = 0x5441
)

var errNotPtmx = errors.New("the container's /dev/pts/ptmx is not what makes terminals")

// openTerminal makes a terminal of the container's own devpts, which is where its programs find it by name. The program's three streams
// are one descriptor, which stays open here until the program ends: it may close its streams, and open its terminal anew.
func openTerminal(size terminalSize) (*streams, error) {
	place, err := startWalk()
	if err != nil {
		return nil, err
	}
	defer func() { place.directory.Close() }()
	master, err := openMaster(place)
	if err != nil {
		return nil, err
	}
	slave, err := openSlave(master, size)
	if err != nil {
		syscall.Close(master)
		return nil, err
	}
	file := os.NewFile(uintptr(master), "terminal")
	return &streams{stdin: file, stdout: file, childs: []int{slave, slave, slave}}, nil
}

// openMaster opens no path that could lead elsewhere: the node is found name by name without following links, looked at, and only
// then opened by what was looked at. Opening a device can do anything, and opening a pipe can take for ever.
func openMaster(place *walk) (int, error) {
	node, err := place.find([]string{"dev", "pts", "ptmx"})
	if err != nil {
		return -1, err
	}
	defer node.Close()
	var stat syscall.Stat_t
	var system syscall.Statfs_t
	fd := int(node.Fd())
	if err := errors.Join(syscall.Fstat(fd, &stat), syscall.Fstatfs(fd, &system)); err != nil {
		return -1, err
	}
	if stat.Mode&syscall.S_IFMT != syscall.S_IFCHR || stat.Rdev != ptmxDevice || system.Type != devptsMagic {
		return -1, errNotPtmx
	}
	return syscall.Open(fmt.Sprintf("/proc/self/fd/%d", fd), syscall.O_RDWR|syscall.O_NOCTTY|syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
}

// openSlave asks the master for its other end: a name could be another's by now.
func openSlave(master int, size terminalSize) (int, error) {
	unlocked := int32(0)
	window := [4]uint16{size.Rows, size.Columns}
	if err := errors.Join(
		ioctl(uintptr(master), tiocSetLock, unsafe.Pointer(&unlocked)),
		ioctl(uintptr(master), tiocSetWindow, unsafe.Pointer(&window)),
	); err != nil {
		return -1, err
	}
	slave, _, errno := syscall.Syscall(syscall.SYS_IOCTL, uintptr(master), tiocGetPeer, syscall.O_RDWR|syscall.O_NOCTTY|syscall.O_CLOEXEC)
	if errno != 0 {
		return -1, errno
	}
	// Programs open their terminal by name.
	if err := syscall.Fchown(int(slave), agentUser, -1); err != nil {
		syscall.Close(int(slave))
		return -1, err
	}
	return int(slave), nil
}
