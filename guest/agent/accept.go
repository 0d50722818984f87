package main

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// awaitRunner makes the socket and accepts one connection, in the background. Afterwards nobody can connect any more: whoever imitates
// the runner finds a socket without a listener.
func awaitRunner() error {
	if err := os.MkdirAll("/run/glovebox", 0o711); err != nil {
		return err
	}
	if err := makeAuthorities(); err != nil {
		return err
	}
	listener, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	// Inherited by what is accepted: each message carries its sender's process id.
	if err := errors.Join(
		syscall.SetsockoptInt(listener, syscall.SOL_SOCKET, syscall.SO_PASSCRED, 1),
		syscall.Bind(listener, &syscall.SockaddrUnix{Name: runnerSocket}),
		os.Chmod(runnerSocket, 0o666),
		syscall.Listen(listener, 1),
	); err != nil {
		return err
	}
	go func() {
		runner, err := acceptRunner(listener)
		if err != nil {
			endMachine(fmt.Errorf("the container's first process: %w", err))
		}
		// Before any program runs: none may take our place.
		if err := openNetwork(runner.pid); err != nil {
			endMachine(fmt.Errorf("the container's network: %w", err))
		}
		container.runner = runner
		close(container.connected)
		endMachine(fmt.Errorf("the container's first process ended: %w", runner.listen()))
	}()
	return nil
}

func acceptRunner(listener int) (*runner, error) {
	defer syscall.Close(listener)
	socket, _, err := syscall.Accept4(listener, syscall.SOCK_CLOEXEC)
	if err != nil {
		return nil, err
	}
	peer, err := syscall.GetsockoptUcred(socket, syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	if err != nil {
		return nil, err
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", peer.Pid))
	if err != nil {
		return nil, err
	}
	if peer.Uid != agentUser || !isFirstProcess(string(status)) {
		return nil, fmt.Errorf("process %d of user %d is not it", peer.Pid, peer.Uid)
	}
	cgroup, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", peer.Pid))
	if err != nil {
		return nil, err
	}
	path := strings.TrimSpace(strings.TrimPrefix(string(cgroup), "0::"))
	return &runner{socket: socket, pid: int(peer.Pid), cgroup: "/sys/fs/cgroup" + path, starts: map[uint32]*started{}}, nil
}

// isFirstProcess tells from /proc/<pid>/status whether a process is number 1 of a pid namespace below this one.
func isFirstProcess(status string) bool {
	for line := range strings.Lines(status) {
		if ids, found := strings.CutPrefix(line, "NSpid:"); found {
			fields := strings.Fields(ids)
			return len(fields) == 2 && fields[1] == "1"
		}
	}
	return false
}
