package main

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"unsafe"
)

// Process 1 of the guest. Returns only when the machine cannot go on.
func runSystem() error {
	if err := prepareSystem(); err != nil {
		return err
	}
	// Early: the host sets clock and entropy while the engine starts.
	go func() { endMachine(serveChannel()) }()
	if err := awaitRunner(); err != nil {
		return err
	}
	if err := mountData("/dev/vdb", "/var/lib/docker"); err != nil {
		return err
	}
	daemons, err := startEngine()
	if err != nil {
		return err
	}
	return reap(daemons)
}

func prepareSystem() error {
	const plain = syscall.MS_NOSUID | syscall.MS_NODEV
	if err := mountAll([]mount{
		{"devpts", "/dev/pts", "devpts", syscall.MS_NOSUID | syscall.MS_NOEXEC, "ptmxmode=0666,mode=0620,gid=5"},
		{"tmpfs", "/dev/shm", "tmpfs", plain, "mode=1777,size=16m"},
		// dockerd keeps its own temporary files on the data disk: these two stay small.
		{"tmpfs", "/run", "tmpfs", plain, "mode=0755,size=10%"},
		{"tmpfs", "/tmp", "tmpfs", plain | syscall.MS_NOEXEC, "mode=1777,size=10%"},
		{"cgroup2", "/sys/fs/cgroup", "cgroup2", plain | syscall.MS_NOEXEC, ""},
	}); err != nil {
		return err
	}
	if err := os.Mkdir("/sys/fs/cgroup/init", 0o755); err != nil {
		return err
	}
	if err := os.WriteFile("/sys/fs/cgroup/init/cgroup.procs", []byte("1"), 0); err != nil {
		return err
	}
	harden()
	if err := syscall.Sethostname([]byte("glovebox")); err != nil {
		return err
	}
	return loopbackUp()
}

// A second fence around the containers, for the case that one reaches the guest's root. Knobs that a kernel lacks are passed over.
func harden() {
	for path, value := range map[string]string{
		"kernel/modules_disabled":          "1",
		"kernel/kexec_load_disabled":       "1",
		"kernel/unprivileged_bpf_disabled": "1",
		"kernel/dmesg_restrict":            "1",
		"kernel/kptr_restrict":             "2",
		"kernel/perf_event_paranoid":       "3",
		"kernel/sysrq":                     "0",
		"user/max_user_namespaces":         "0",
		// Whoever holds a lease on a file makes everybody wait who opens it, or runs it.
		"fs/leases-enable":            "0",
		"vm/unprivileged_userfaultfd": "0",
	} {
		if err := os.WriteFile("/proc/sys/"+path, []byte(value), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
			report("sysctl %s: %v", path, err)
		}
	}
}

func loopbackUp() error {
	socket, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_DGRAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer syscall.Close(socket)
	request := struct { // struct ifreq
		name  [syscall.IFNAMSIZ]byte
		flags uint16
		_     [22]byte
	}{name: [syscall.IFNAMSIZ]byte{'l', 'o'}, flags: syscall.IFF_UP}
	return ioctl(uintptr(socket), syscall.SIOCSIFFLAGS, unsafe.Pointer(&request))
}

// Mounts the session's disk and grows its file system to the disk's size, which the host chose for this session.
func mountData(device, target string) error {
	if err := waitFor(device, func() bool { _, err := os.Stat(device); return err == nil }); err != nil {
		return err
	}
	if err := syscall.Mount(device, target, "ext4", syscall.MS_NOATIME|syscall.MS_NODEV, "discard"); err != nil {
		return fmt.Errorf("mount %s: %w", device, err)
	}
	disk, err := os.Open(device)
	if err != nil {
		return err
	}
	defer disk.Close()
	var size uint64
	if err := ioctl(disk.Fd(), blkGetSize64, unsafe.Pointer(&size)); err != nil {
		return err
	}
	var fs syscall.Statfs_t
	if err := syscall.Statfs(target, &fs); err != nil {
		return err
	}
	root, err := os.Open(target)
	if err != nil {
		return err
	}
	defer root.Close()
	blocks := size / uint64(fs.Bsize) // no change is not an error
	if err := ioctl(root.Fd(), ext4ResizeFS, unsafe.Pointer(&blocks)); err != nil {
		return fmt.Errorf("grow %s: %w", device, err)
	}
	return nil
}

const (
	blkGetSize64 = 0x80081272
	ext4ResizeFS = 0x40086610
)

func ioctl(fd, request uintptr, argument unsafe.Pointer) error {
	if _, _, errno := syscall.Syscall(syscall.SYS_IOCTL, fd, request, uintptr(argument)); errno != 0 {
		return errno
	}
	return nil
}

// Collects every process that ends; only process 1 does, so nothing else in the agent may wait for a child.
func reap(daemons map[int]string) error {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return err
		}
		if name, found := daemons[pid]; found {
			return fmt.Errorf("%s ended (exit code %d, signal %d)", name, status.ExitStatus(), status.Signal())
		}
	}
}
