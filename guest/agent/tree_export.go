package main

import (
	"archive/tar"
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"syscall"
)

// A file up to this size is read before its header is written, so that one that changes meanwhile is still told right.
const wholeFileBytes = 256 << 10

// export sends a file, or a directory with all in it, in the order of names. Pipes, sockets and devices are told of as pipes, and not touched.
func (r treeRequest) export(place *walk, names []string, out *frames) error {
	node, err := place.find(names)
	if err != nil {
		return err
	}
	defer node.Close()
	entry, err := describe(node)
	if err != nil {
		return err
	}
	if entry.Kind != "file" && entry.Kind != "directory" {
		return fileFailed{Code: "NOT_FILE", Path: r.Path, Kind: entry.Kind, Target: entry.Target}
	}
	buffered := bufio.NewWriterSize(outputFrames{out}, 64<<10)
	sending := &export{treeRequest: r, archive: tar.NewWriter(buffered), buffer: make([]byte, wholeFileBytes)}
	if err := sending.send(node, "."); err != nil {
		return err
	}
	return errors.Join(sending.archive.Close(), buffered.Flush())
}

type outputFrames struct{ frames *frames }

func (o outputFrames) Write(content []byte) (int, error) {
	return len(content), o.frames.write(frameStdout, content)
}

type export struct {
	treeRequest
	archive *tar.Writer
	buffer  []byte
	entries int
	bytes   int64
	depth   int
}

func (e *export) send(node *os.File, name string) error {
	entry, err := describe(node)
	if err != nil {
		return err
	}
	if e.entries++; e.entries > e.MaxEntries {
		return fileFailed{Code: "TOO_MANY", Path: e.Path}
	}
	header := tar.Header{Name: name, Mode: int64(entry.Mode), Format: tar.FormatPAX}
	switch entry.Kind {
	case "directory":
		header.Typeflag, header.Name = tar.TypeDir, name+"/"
		if err := e.archive.WriteHeader(&header); err != nil || slices.Contains(e.Prune, path.Base(name)) {
			return err
		}
		return e.sendAllIn(node, name)
	case "file":
		header.Typeflag, header.Size = tar.TypeReg, entry.SizeBytes
		return e.sendFile(node, header)
	case "link":
		header.Typeflag, header.Linkname = tar.TypeSymlink, entry.Target
	default:
		header.Typeflag = tar.TypeFifo
	}
	return e.archive.WriteHeader(&header)
}

func (e *export) sendAllIn(node *os.File, name string) error {
	if e.depth++; e.depth > maxTreeDepth {
		return fileFailed{Code: "TOO_DEEP", Path: path.Join(e.Path, name)}
	}
	names, err := e.namesIn(node)
	if err != nil {
		return err
	}
	for _, it := range names {
		child, err := openNode(int(node.Fd()), it, syscall.O_NOFOLLOW)
		if errors.Is(err, syscall.ENOENT) {
			continue // removed meanwhile
		}
		if err != nil {
			return err
		}
		err = e.send(child, path.Join(name, it))
		child.Close()
		if err != nil {
			return err
		}
	}
	e.depth--
	return nil
}

// namesIn reads no more names than the host will take.
func (e *export) namesIn(node *os.File) ([]string, error) {
	directory, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", node.Fd()))
	if err != nil {
		return nil, err
	}
	defer directory.Close()
	names, err := directory.Readdirnames(e.MaxEntries + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	slices.Sort(names)
	return names, nil
}

func (e *export) sendFile(node *os.File, header tar.Header) error {
	if e.bytes += header.Size; e.bytes > e.MaxBytes {
		return fileFailed{Code: "TOO_LARGE", Path: e.Path}
	}
	// The node itself, whatever its name leads to by now.
	content, err := os.OpenFile(fmt.Sprintf("/proc/self/fd/%d", node.Fd()), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer content.Close()
	if header.Size > int64(len(e.buffer)) {
		if err := e.archive.WriteHeader(&header); err != nil {
			return err
		}
		_, err = io.CopyBuffer(struct{ io.Writer }{e.archive}, struct{ io.Reader }{io.LimitReader(content, header.Size)}, e.buffer)
		if err == nil && e.archive.Flush() != nil {
			err = fileFailed{Code: "CHANGED", Path: path.Join(e.Path, header.Name)}
		}
		return err
	}
	n, err := io.ReadFull(content, e.buffer[:header.Size])
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	header.Size = int64(n)
	if err := e.archive.WriteHeader(&header); err != nil {
		return err
	}
	_, err = e.archive.Write(e.buffer[:n])
	return err
}
