package main

import (
	"errors"
	"os"
	"syscall"
)

// streams are the pipes of one program: the agent's ends, and the program's until they have been handed over.
type streams struct {
	stdin, stdout, stderr *os.File
	childs                []int
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
		made.closeChilds()
		made.close()
		return nil, err
	}
	return made, nil
}

func (s *streams) closeChilds() {
	for _, fd := range s.childs {
		syscall.Close(fd)
	}
	s.childs = nil
}

func (s *streams) close() {
	for _, file := range []*os.File{s.stdin, s.stdout, s.stderr} {
		if file != nil {
			file.Close()
		}
	}
}
