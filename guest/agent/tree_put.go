package main

import (
	"errors"
	"io"
	"os"
	"syscall"
)

const atSymlinkNoFollow = 0x100

func (w *walk) put(name string, mode uint32, content io.Reader, buffer []byte) error {
	return w.place(name, func(as string) error {
		directory := int(w.directory.Fd())
		fd, err := syscall.Openat(directory, as, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_EXCL|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0o600)
		if err != nil {
			return err
		}
		file := os.NewFile(uintptr(fd), as)
		defer file.Close()
		// Without the file's own ReadFrom, which would make a buffer for each file.
		_, err = io.CopyBuffer(struct{ io.Writer }{file}, content, buffer)
		if err == nil {
			err = errors.Join(syscall.Fchown(fd, agentUser, agentUser), syscall.Fchmod(fd, mode))
		}
		if err != nil {
			return errors.Join(err, unlinkAt(directory, as))
		}
		return nil
	})
}

func (w *walk) putLink(name, target string) error {
	return w.place(name, func(as string) error {
		directory := int(w.directory.Fd())
		if err := symlinkAt(target, directory, as); err != nil {
			return err
		}
		return syscall.Fchownat(directory, as, agentUser, agentUser, atSymlinkNoFollow)
	})
}
