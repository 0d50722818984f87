package main

import (
	"errors"
	"io"
	"syscall"
)

const atSymlinkNoFollow = 0x100

// put makes a file, with as few calls as there can be: there are thousands. The mode is one that this process's umask takes nothing from.
func (w *walk) put(name string, mode uint32, content io.Reader, buffer []byte) error {
	directory := int(w.directory.Fd())
	return w.place(name, func(as string) error {
		fd, err := syscall.Openat(directory, as, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_EXCL|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, mode)
		if err != nil {
			return err
		}
		defer syscall.Close(fd)
		err = syscall.Fchown(fd, agentUser, agentUser)
		if err == nil {
			err = copyTo(fd, content, buffer)
		}
		if err != nil {
			return errors.Join(err, unlinkAt(directory, as))
		}
		return nil
	})
}

func copyTo(fd int, content io.Reader, buffer []byte) error {
	for {
		n, err := content.Read(buffer)
		for rest := buffer[:n]; len(rest) > 0; {
			written, err := syscall.Write(fd, rest)
			if err != nil && !errors.Is(err, syscall.EINTR) {
				return err
			}
			rest = rest[max(written, 0):]
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (w *walk) putLink(name, target string) error {
	directory := int(w.directory.Fd())
	return w.place(name, func(as string) error {
		if err := symlinkAt(target, directory, as); err != nil {
			return err
		}
		return syscall.Fchownat(directory, as, agentUser, agentUser, atSymlinkNoFollow)
	})
}
