package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unsafe"
)

// The initramfs stage: devices, modules, and the read-only root, which it makes this process's root directory.
func switchToRoot() error {
	const quiet = syscall.MS_NOSUID | syscall.MS_NOEXEC
	if err := mountAll([]mount{
		{"devtmpfs", "/dev", "devtmpfs", quiet, "mode=0755"},
		{"proc", "/proc", "proc", quiet | syscall.MS_NODEV, ""},
		{"sysfs", "/sys", "sysfs", quiet | syscall.MS_NODEV, ""},
	}); err != nil {
		return err
	}
	if err := useConsole(); err != nil {
		return err
	}
	fmt.Fprintln(os.Stderr, userSpaceMarker)
	if commandLineHas("glovebox.probe") {
		return errors.New("probed")
	}
	if err := loadModules("/modules"); err != nil {
		return err
	}
	const root = "/newroot"
	if err := waitFor("/dev/vda", func() bool { _, err := os.Stat("/dev/vda"); return err == nil }); err != nil {
		return err
	}
	if err := mountAll([]mount{{"/dev/vda", root, "erofs", syscall.MS_RDONLY | syscall.MS_NODEV, ""}}); err != nil {
		return err
	}
	for _, dir := range []string{"/dev", "/proc", "/sys"} {
		if err := syscall.Mount(dir, root+dir, "", syscall.MS_MOVE, ""); err != nil {
			return fmt.Errorf("move %s: %w", dir, err)
		}
	}
	// The initramfs lives in memory: give it back.
	if err := errors.Join(os.RemoveAll("/modules"), os.Remove("/init"), os.Chdir(root)); err != nil {
		return err
	}
	if err := syscall.Mount(".", "/", "", syscall.MS_MOVE, ""); err != nil {
		return err
	}
	return errors.Join(syscall.Chroot("."), os.Chdir("/"))
}

// Makes /dev/console the standard streams, whatever the kernel gave us.
func useConsole() error {
	console, err := syscall.Open("/dev/console", syscall.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return fmt.Errorf("/dev/console: %w", err)
	}
	for fd := range 3 {
		if err := syscall.Dup3(console, fd, 0); err != nil && console != fd {
			return err
		}
	}
	if console > 2 {
		return syscall.Close(console)
	}
	return nil
}

func commandLineHas(word string) bool {
	line, err := os.ReadFile("/proc/cmdline")
	return err == nil && strings.Contains(" "+strings.TrimSpace(string(line))+" ", " "+word+" ")
}

// `list` names one uncompressed module file a line, dependencies first.
func loadModules(dir string) error {
	list, err := os.ReadFile(filepath.Join(dir, "list"))
	if err != nil {
		return err
	}
	for _, name := range strings.Fields(string(list)) {
		file, err := os.Open(filepath.Join(dir, filepath.Base(name)))
		if err != nil {
			return err
		}
		noOptions := [1]byte{}
		_, _, errno := syscall.Syscall(finitModule, file.Fd(), uintptr(unsafe.Pointer(&noOptions[0])), 0)
		file.Close()
		if errno != 0 && errno != syscall.EEXIST {
			return fmt.Errorf("load module %s: %w", name, errno)
		}
	}
	return nil
}
