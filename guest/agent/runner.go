package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// The agent's side of the runner, which is the first process of the container (guest/runner/runner.c has the protocol). What it says is
// read strictly and believed as little as can be: it shares its user with the agent's programs.

const (
	runnerSocket = "/run/glovebox/runner.sock"
	agentUser    = 1000
	hasStdin     = 1
	hasTerminal  = 2

	connectPatience = 10 * time.Second
)

var (
	errStuck  = errors.New("it did not start in time")
	errKilled = errors.New("it was killed before it started")
)

// A failed start: errno, and what was being done.
type startError struct {
	errno syscall.Errno
	stage int32
}

const (
	stageDirectory = 2
	stageProgram   = 3
)

func (e startError) Error() string { return e.errno.Error() }

type runner struct {
	socket int
	pid    int
	cgroup string

	mutex  sync.Mutex
	nextID uint32
	starts map[uint32]*started
	// Starts that have no outcome yet; when the runner has last given one, or began to owe one; when what was starting has been killed since,
	// if it has; and when it was last urged.
	waiting int
	heard   time.Time
	killed  time.Time
	urged   time.Time
}

// started is a program from the request for it to its end.
type started struct {
	pid   int           // in the machine; 0 until the kernel has told it
	ready chan error    // one value: nil when the program runs
	ended chan struct{} // closed when `status` is set
	// Wait status.
	status syscall.WaitStatus
}

// The container's runner, once it has connected. A machine has one container.
var container = struct {
	connected chan struct{}
	runner    *runner // read when connected
}{connected: make(chan struct{})}

var errNoContainer = errors.New("there is no container")

// containerRunner waits a while: the runner connects a moment after the engine says that the container runs.
func containerRunner() (*runner, error) {
	select {
	case <-container.connected:
		return container.runner, nil
	case <-time.After(connectPatience):
		return nil, errNoContainer
	}
}

// start has the runner start a program. It answers when the program runs; the streams are still the caller's to close.
func (r *runner) start(spec []byte, streams *streams) (*started, error) {
	memory, err := specFile(spec)
	if err != nil {
		return nil, err
	}
	defer syscall.Close(memory)
	program := &started{ready: make(chan error, 1), ended: make(chan struct{})}
	r.mutex.Lock()
	r.nextID++
	id := r.nextID
	r.starts[id] = program
	if r.waiting == 0 {
		r.hear()
	}
	r.waiting++
	r.mutex.Unlock()
	defer r.answered()
	var request [8]byte
	binary.NativeEndian.PutUint32(request[0:], id)
	binary.NativeEndian.PutUint32(request[4:], streams.flags())
	rights := syscall.UnixRights(append([]int{memory}, streams.childs...)...)
	err = syscall.Sendmsg(r.socket, request[:], rights, nil, syscall.MSG_NOSIGNAL)
	if err == nil {
		err = r.await(program)
	}
	if err != nil {
		r.forget(id)
		return nil, err
	}
	return program, nil
}

// kill ends a program that nobody waits for any more.
func (s *started) kill() {
	select {
	case <-s.ended:
	default:
		kill([]int{s.pid}, syscall.SIGKILL)
	}
}

func (r *runner) forget(id uint32) {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	delete(r.starts, id)
}

// listen reads the runner's messages until its end.
func (r *runner) listen() error {
	message, control := make([]byte, 16+1), make([]byte, syscall.CmsgSpace(syscall.SizeofUcred))
	for {
		n, controlBytes, _, _, err := syscall.Recvmsg(r.socket, message, control, 0)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || n == 0 {
			return errors.Join(err, errors.New("no more messages"))
		}
		if n != 16 {
			return errors.New("a message of another length")
		}
		sender, err := senderOf(control[:controlBytes])
		if err != nil {
			return err
		}
		kind, id := binary.NativeEndian.Uint32(message[0:]), binary.NativeEndian.Uint32(message[4:])
		value, stage := int32(binary.NativeEndian.Uint32(message[8:])), int32(binary.NativeEndian.Uint32(message[12:]))
		if err := r.take(kind, id, value, stage, sender); err != nil {
			return err
		}
	}
}

func (r *runner) take(kind, id uint32, value, stage int32, sender int) error {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	program, known := r.starts[id]
	wasKilled := !r.killed.IsZero()
	if sender == r.pid {
		r.hear()
	}
	if !known {
		return nil // of a start that has failed: its process has ended as well
	}
	// A new process announces itself, once; the runner speaks of what has become of it.
	if fromRunner := sender == r.pid; (kind == 'S') == fromRunner && kind != 'F' {
		return errors.New("a message of another process")
	}
	switch kind {
	case 'S':
		if program.pid != 0 {
			return errors.New("a program with two processes")
		}
		program.pid = sender
	case 'F':
		select {
		case program.ready <- startError{syscall.Errno(value), stage}:
		default:
		}
	case 'R':
		var outcome error
		if program.pid == 0 {
			outcome = errKilled
		} else if wasKilled {
			outcome = errStuck
			program.kill()
		}
		select {
		case program.ready <- outcome:
		default:
		}
	case 'X':
		program.status = syscall.WaitStatus(value)
		delete(r.starts, id)
		close(program.ended)
	default:
		return errors.New("a message of another kind")
	}
	return nil
}

func senderOf(control []byte) (int, error) {
	messages, err := syscall.ParseSocketControlMessage(control)
	if err != nil || len(messages) != 1 {
		return 0, errors.Join(err, errors.New("a message without its sender"))
	}
	credentials, err := syscall.ParseUnixCredentials(&messages[0])
	if err != nil {
		return 0, err
	}
	return int(credentials.Pid), nil
}

// specFile writes the spec into a file without a name, so that it may be of any size.
func specFile(spec []byte) (int, error) {
	name := [...]byte{'s', 'p', 'e', 'c', 0}
	fd, _, errno := syscall.Syscall(memfdCreate, uintptr(unsafe.Pointer(&name[0])), 1 /* MFD_CLOEXEC */, 0)
	if errno != 0 {
		return -1, errno
	}
	for written := 0; written < len(spec); {
		n, err := syscall.Write(int(fd), spec[written:])
		if err != nil {
			syscall.Close(int(fd))
			return -1, err
		}
		written += n
	}
	return int(fd), nil
}

// outOfMemoryKills counts the processes of the container that the kernel has killed for want of memory.
func (r *runner) outOfMemoryKills() int {
	events, err := os.ReadFile(r.cgroup + "/memory.events")
	if err != nil {
		return 0
	}
	var kills int
	for line := range strings.Lines(string(events)) {
		if _, err := fmt.Sscanf(line, "oom_kill %d", &kills); err == nil {
			return kills
		}
	}
	return 0
}
