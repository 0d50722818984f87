package main

import (
	"errors"
	"os"
	"slices"
	"syscall"
)

// streams are the pipes of one program, or its terminal: the agent's ends, and the program's.
type streams struct {
	// Of a terminal the first two are one, and there is no third.
	stdin, stdout, stderr *os.File
	// Output, error and, perhaps, input; of a terminal they are one.
	childs []int
}

func (s *streams) terminal() bool { return s.stdin != nil && s.stdin == s.stdout }

// flags tell the runner what the descriptors are.
func (s *streams) flags() (flags uint32) {
	if s.stdin != nil {
		flags |= hasStdin
	}
	if s.terminal() {
		flags |= hasTerminal
	}
	return flags
}

func (s *streams) outputs() map[byte]*os.File {
	if s.terminal() {
		return map[byte]*os.File{frameStdout: s.stdout}
	}
	return map[byte]*os.File{frameStdout: s.stdout, frameStderr: s.stderr}
}

func openStreams(withStdin bool) (*streams, error) {
	made := &streams{}
	open := func(reads bool) (*os.File, error) {
		var ends [2]int
		if err := syscall.Pipe2(ends[:], syscall.O_CLOEXEC); err != nil {
			return nil, err
		}
		agents, childs := ends[1], ends[0]
		if reads {
			agents, childs = ends[0], ends[1]
		}
		made.childs = append(made.childs, childs)
		// Programs may open their standard streams anew, by /dev/stdout.
		if err := errors.Join(syscall.Fchown(childs, agentUser, agentUser), syscall.SetNonblock(agents, true)); err != nil {
			syscall.Close(agents)
			return nil, err
		}
		return os.NewFile(uintptr(agents), "pipe"), nil
	}
	var err error
	if made.stdout, err = open(true); err == nil {
		made.stderr, err = open(true)
	}
	if err == nil && withStdin {
		made.stdin, err = open(false)
	}
	if err != nil {
		made.close()
		return nil, err
	}
	return made, nil
}

func (s *streams) closeChilds() {
	for _, fd := range slices.Compact(s.childs) {
		syscall.Close(fd)
	}
	s.childs = nil
}

func (s *streams) close() {
	s.closeChilds()
	for _, file := range []*os.File{s.stdin, s.stdout, s.stderr} {
		if file != nil {
			file.Close()
		}
	}
}
