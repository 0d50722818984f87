package main

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"
)

// Numbers of bpf(2), from the kernel's <linux/bpf.h>.
const (
	bpfMapCreate     = 0
	bpfMapUpdate     = 2
	bpfProgramLoad   = 5
	bpfLinkCreate    = 28
	mapOfSockets     = 15
	programSkLookup  = 30
	attachedSkLookup = 36
)

// A BPF instruction (RFC 9669 §3): operation, registers (source in the upper half), offset, immediate.
type instruction struct {
	operation, registers uint8
	offset               int16
	immediate            int32
}

// The link that keeps the program at its place; it is gone when this is closed.
var steering int

// steer has every TCP connection in a process's network namespace that doesn't go to 127.0.0.0/8 arrive at one listening socket, whatever
// its address and port. The socket keeps what was dialled as its own address. (BPF_PROG_TYPE_SK_LOOKUP: Linux 5.9.)
func steer(pid, listener int) error {
	sockets, err := bpfCall(bpfMapCreate, unsafe.Pointer(&struct{ kind, keyBytes, valueBytes, entries uint32 }{mapOfSockets, 4, 4, 1}), 16)
	if err != nil {
		return fmt.Errorf("make the map: %w", err)
	}
	defer syscall.Close(sockets)
	key, value := uint32(0), uint32(listener)
	update := struct {
		sockets    uint32
		_          uint32
		key, value unsafe.Pointer
		flags      uint64
	}{sockets: uint32(sockets), key: unsafe.Pointer(&key), value: unsafe.Pointer(&value)}
	if _, err := bpfCall(bpfMapUpdate, unsafe.Pointer(&update), unsafe.Sizeof(update)); err != nil {
		return fmt.Errorf("name the listener: %w", err)
	}
	program, err := loadSteering(sockets)
	if err != nil {
		return err
	}
	defer syscall.Close(program)
	namespace, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", pid))
	if err != nil {
		return err
	}
	defer namespace.Close()
	link := struct{ program, target, attach, flags uint32 }{uint32(program), uint32(namespace.Fd()), attachedSkLookup, 0}
	steering, err = bpfCall(bpfLinkCreate, unsafe.Pointer(&link), unsafe.Sizeof(link))
	return err
}

// loadSteering loads the program: it passes what isn't TCP over IPv4 and what stays in 127.0.0.0/8, and assigns all else to the listener.
func loadSteering(sockets int) (int, error) {
	// r1 is a struct bpf_sk_lookup: family at 8, protocol at 12, the address that was dialled at 40, its first byte first.
	code := [...]instruction{
		{0xbf, 0x16, 0, 0},                    //  0: r6 = r1
		{0x61, 0x12, 8, 0},                    //  1: r2 = family
		{0x55, 0x02, 18, syscall.AF_INET},     //  2: if r2 != AF_INET goto 21
		{0x61, 0x12, 12, 0},                   //  3: r2 = protocol
		{0x55, 0x02, 16, syscall.IPPROTO_TCP}, //  4: if r2 != TCP goto 21
		{0x71, 0x12, 40, 0},                   //  5: r2 = first byte of the address
		{0x15, 0x02, 14, 127},                 //  6: if r2 == 127 goto 21
		{0x62, 0x0a, -4, 0},                   //  7: *(u32 *)(r10 - 4) = 0
		{0x18, 0x11, 0, int32(sockets)},       //  8: r1 = the map
		{},                                    //  9: (its second half)
		{0xbf, 0xa2, 0, 0},                    // 10: r2 = r10
		{0x07, 0x02, 0, -4},                   // 11: r2 += -4
		{0x85, 0x00, 0, 1},                    // 12: r0 = bpf_map_lookup_elem(r1, r2)
		{0x15, 0x00, 7, 0},                    // 13: if r0 == 0 goto 21
		{0xbf, 0x07, 0, 0},                    // 14: r7 = r0
		{0xbf, 0x61, 0, 0},                    // 15: r1 = r6
		{0xbf, 0x72, 0, 0},                    // 16: r2 = r7
		{0xb7, 0x03, 0, 0},                    // 17: r3 = 0
		{0x85, 0x00, 0, 124},                  // 18: bpf_sk_assign(r1, r2, r3)
		{0xbf, 0x71, 0, 0},                    // 19: r1 = r7
		{0x85, 0x00, 0, 86},                   // 20: bpf_sk_release(r1)
		{0xb7, 0x00, 0, 1},                    // 21: r0 = SK_PASS
		{0x95, 0x00, 0, 0},                    // 22: exit
	}
	license := [...]byte{'G', 'P', 'L', 0}
	load := struct {
		kind, count        uint32
		code, license      unsafe.Pointer
		logLevel, logBytes uint32
		log                uint64
		kernel, flags      uint32
		name               [16]byte
		device, attach     uint32
	}{kind: programSkLookup, count: uint32(len(code)), code: unsafe.Pointer(&code[0]), license: unsafe.Pointer(&license[0]), attach: attachedSkLookup}
	program, err := bpfCall(bpfProgramLoad, unsafe.Pointer(&load), unsafe.Sizeof(load))
	if err != nil {
		return -1, fmt.Errorf("load the program: %w", err)
	}
	return program, nil
}

func bpfCall(command int, attributes unsafe.Pointer, size uintptr) (int, error) {
	fd, _, errno := syscall.Syscall(bpf, uintptr(command), uintptr(attributes), size)
	if errno != 0 {
		return -1, errno
	}
	return int(fd), nil
}
