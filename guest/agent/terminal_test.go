package main

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// A walk that starts in a directory of the test's own, as if it were the container's root.
func walkFrom(t *testing.T, root string) *walk {
	t.Helper()
	directory, err := openNode(-1, root, 0)
	if err != nil {
		t.Fatal(err)
	}
	place := &walk{directory: directory, path: "/"}
	t.Cleanup(func() { place.directory.Close() })
	return place
}

func TestNothingElseIsOpenedForATerminal(t *testing.T) {
	for name, build := range map[string]func(dev string) error{
		"a file":           func(dev string) error { return os.WriteFile(dev+"/pts/ptmx", nil, 0o666) },
		"a pipe":           func(dev string) error { return syscall.Mkfifo(dev+"/pts/ptmx", 0o666) },
		"a directory":      func(dev string) error { return os.Mkdir(dev+"/pts/ptmx", 0o777) },
		"nothing":          func(string) error { return nil },
		"a link":           func(dev string) error { return os.Symlink("/dev/ptmx", dev+"/pts/ptmx") },
		"another device":   func(dev string) error { return syscall.Mknod(dev+"/pts/ptmx", syscall.S_IFCHR|0o666, 1<<8|3) },
		"one of no devpts": func(dev string) error { return syscall.Mknod(dev+"/pts/ptmx", syscall.S_IFCHR|0o666, ptmxDevice) },
		"a link above":     func(dev string) error { return errors.Join(os.Remove(dev+"/pts"), os.Symlink("/dev/pts", dev+"/pts")) },
		"a link at the top": func(dev string) error {
			return errors.Join(os.RemoveAll(dev), os.Symlink("/dev", dev))
		},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			dev := filepath.Join(root, "dev")
			if err := os.MkdirAll(dev+"/pts", 0o777); err != nil {
				t.Fatal(err)
			}
			if err := build(dev); errors.Is(err, syscall.EPERM) {
				t.Skip("devices can't be made here")
			} else if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			fd, err := openMaster(walkFrom(t, root))
			if err == nil {
				syscall.Close(fd)
				t.Fatal("it was opened")
			}
			if time.Since(began) > time.Second {
				t.Fatal("it was waited for")
			}
		})
	}
}

func TestATerminal(t *testing.T) {
	master, err := openMaster(walkFrom(t, "/"))
	if err != nil {
		t.Skipf("no terminal can be made here: %v", err)
	}
	slave, err := openSlave(master, terminalSize{Columns: 97, Rows: 31})
	if errors.Is(err, syscall.EPERM) {
		t.Skip("it can't be given to another user here")
	} else if err != nil {
		t.Fatal(err)
	}
	const tiocGetWindow = 0x5413
	var window [4]uint16
	var stat syscall.Stat_t
	if err := errors.Join(ioctl(uintptr(slave), tiocGetWindow, unsafe.Pointer(&window)), syscall.Fstat(slave, &stat)); err != nil {
		t.Fatal(err)
	}
	if window != [4]uint16{31, 97} || stat.Uid != agentUser {
		t.Fatalf("got %v, of user %d", window, stat.Uid)
	}
	file := os.NewFile(uintptr(master), "terminal")
	made := &streams{stdin: file, stdout: file, childs: []int{slave, slave, slave}}
	defer made.close()
	if made.flags() != hasStdin|hasTerminal {
		t.Fatalf("got flags %d", made.flags())
	}
	if _, err := syscall.Write(slave, []byte("x")); err != nil {
		t.Fatal(err)
	}
	// Its last holder lets go: what was written comes, and then the end.
	made.closeChilds()
	buffer := make([]byte, 10)
	if n, err := made.stdout.Read(buffer); n != 1 || buffer[0] != 'x' {
		t.Fatalf("got %d bytes, %v", n, err)
	}
	if _, err := made.stdout.Read(buffer); !errors.Is(err, syscall.EIO) {
		t.Fatalf("got %v", err)
	}
}
