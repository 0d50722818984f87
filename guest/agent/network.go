package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"syscall"
)

// The container's network is its own loopback, and every address is on it: whatever a program connects to arrives at one listener of
// ours, which hands it to the host with the name and port that were meant. Nothing is decided here, and there is no device that leads
// anywhere else.

const (
	// For programs that are told to use a proxy.
	proxyPort = 3128
	// The kernel's own limit.
	backlog = 4096
)

var loopback = [4]byte{127, 0, 0, 1}

// openNetwork makes the way out of the container whose first process this is.
func openNetwork(pid int) error {
	var listening, resolving int
	err := inNamespace(pid, "net", syscall.CLONE_NEWNET, func() (err error) {
		if err = errors.Join(loopbackUp(), routeAllHere()); err != nil {
			return err
		}
		if listening, err = bound(syscall.SOCK_STREAM, proxyPort); err != nil {
			return err
		}
		if err = syscall.Listen(listening, backlog); err != nil {
			return err
		}
		resolving, err = bound(syscall.SOCK_DGRAM, 53)
		return err
	})
	if err != nil {
		return err
	}
	if err := steer(pid, listening); err != nil {
		return fmt.Errorf("steer connections: %w", err)
	}
	listener, err := net.FileListener(os.NewFile(uintptr(listening), "way out"))
	if err != nil {
		return err
	}
	resolver, err := net.FilePacketConn(os.NewFile(uintptr(resolving), "resolver"))
	if err != nil {
		return err
	}
	if err := nameServer(); err != nil {
		return err
	}
	go func() { endMachine(fmt.Errorf("the way out: %w", acceptConnections(listener))) }()
	go func() { endMachine(fmt.Errorf("the resolver: %w", answerNames(resolver))) }()
	return nil
}

func bound(kind, port int) (int, error) {
	socket, err := syscall.Socket(syscall.AF_INET, kind|syscall.SOCK_CLOEXEC|syscall.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, err
	}
	return socket, syscall.Bind(socket, &syscall.SockaddrInet4{Port: port, Addr: loopback})
}

// routeAllHere makes every IPv4 address one of this machine's own: `ip route add local default dev lo` (rtnetlink(7)).
func routeAllHere() error {
	socket, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, syscall.NETLINK_ROUTE)
	if err != nil {
		return err
	}
	defer syscall.Close(socket)
	const loopbackIndex = 1
	var request [36]byte // struct nlmsghdr, struct rtmsg, and an attribute of four bytes
	native := binary.NativeEndian
	native.PutUint32(request[0:], uint32(len(request)))
	native.PutUint16(request[4:], syscall.RTM_NEWROUTE)
	native.PutUint16(request[6:], syscall.NLM_F_REQUEST|syscall.NLM_F_ACK|syscall.NLM_F_CREATE|syscall.NLM_F_REPLACE)
	request[16] = syscall.AF_INET
	request[20] = syscall.RT_TABLE_LOCAL
	request[21] = syscall.RTPROT_STATIC
	request[22] = syscall.RT_SCOPE_HOST
	request[23] = syscall.RTN_LOCAL
	native.PutUint16(request[28:], 8)
	native.PutUint16(request[30:], syscall.RTA_OIF)
	native.PutUint32(request[32:], loopbackIndex)
	if err := syscall.Sendto(socket, request[:], 0, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK}); err != nil {
		return err
	}
	var answer [4096]byte
	n, _, err := syscall.Recvfrom(socket, answer[:], 0)
	if err != nil {
		return err
	}
	if n < 20 || native.Uint16(answer[4:]) != syscall.NLMSG_ERROR {
		return errors.New("the kernel's answer to a route can't be read")
	}
	if errno := -int32(native.Uint32(answer[16:])); errno != 0 {
		return fmt.Errorf("add the route: %w", syscall.Errno(errno))
	}
	return nil
}

// nameServer names our resolver to the container; in place, because the container has this very file mounted.
func nameServer() error {
	files, err := filepath.Glob("/var/lib/docker/containers/*/resolv.conf")
	if err != nil {
		return err
	}
	if len(files) != 1 {
		return fmt.Errorf("there are %d containers", len(files))
	}
	return os.WriteFile(files[0], []byte("nameserver 127.0.0.1\noptions timeout:2 attempts:2\n"), 0)
}
