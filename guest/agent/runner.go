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

	startDeadline = 30 * time.Second
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
}

// started is a program from the request for it to its end.
type started struct {
	pid   int           // in the machine; 0 until the kernel has told it
	ready chan error    // one value: nil when the program runs
	ended chan struct{} // closed when `status` is set
	// Wait status.
	status syscall.WaitStatus
}

// The container's runner; nil until there is one. A machine has one container.
var container struct {
	mutex  sync.Mutex
	runner *runner
}

func currentRunner() *runner {
	container.mutex.Lock()
	defer container.mutex.Unlock()
	return container.runner
}

// awaitRunner makes the socket and accepts one connection, in the background. Afterwards nobody can connect any more: whoever imitates
// the runner finds a socket without a listener.
func awaitRunner() error {
	if err := os.MkdirAll("/run/glovebox", 0o711); err != nil {
		return err
	}
	listener, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	// Inherited by what is accepted: each message carries its sender's process id.
	if err := errors.Join(
		syscall.SetsockoptInt(listener, syscall.SOL_SOCKET, syscall.SO_PASSCRED, 1),
		syscall.Bind(listener, &syscall.SockaddrUnix{Name: runnerSocket}),
		os.Chmod(runnerSocket, 0o666),
		syscall.Listen(listener, 1),
	); err != nil {
		return err
	}
	go func() {
		runner, err := acceptRunner(listener)
		if err != nil {
			endMachine(fmt.Errorf("the container's first process: %w", err))
		}
		container.mutex.Lock()
		container.runner = runner
		container.mutex.Unlock()
		endMachine(fmt.Errorf("the container's first process ended: %w", runner.listen()))
	}()
	return nil
}

func acceptRunner(listener int) (*runner, error) {
	defer syscall.Close(listener)
	socket, _, err := syscall.Accept4(listener, syscall.SOCK_CLOEXEC)
	if err != nil {
		return nil, err
	}
	peer, err := syscall.GetsockoptUcred(socket, syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	if err != nil {
		return nil, err
	}
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", peer.Pid))
	if err != nil {
		return nil, err
	}
	if peer.Uid != agentUser || !isFirstProcess(string(status)) {
		return nil, fmt.Errorf("process %d of user %d is not it", peer.Pid, peer.Uid)
	}
	cgroup, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", peer.Pid))
	if err != nil {
		return nil, err
	}
	path := strings.TrimSpace(strings.TrimPrefix(string(cgroup), "0::"))
	return &runner{socket: socket, pid: int(peer.Pid), cgroup: "/sys/fs/cgroup" + path, starts: map[uint32]*started{}}, nil
}

// isFirstProcess tells from /proc/<pid>/status whether a process is number 1 of a pid namespace below this one.
func isFirstProcess(status string) bool {
	for line := range strings.Lines(status) {
		if ids, found := strings.CutPrefix(line, "NSpid:"); found {
			fields := strings.Fields(ids)
			return len(fields) == 2 && fields[1] == "1"
		}
	}
	return false
}

// start has the runner start a program. It answers when the program runs; `fds` are standard output, error and, perhaps, input, and
// still the caller's to close.
func (r *runner) start(spec []byte, fds []int) (*started, error) {
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
	var request [8]byte
	binary.NativeEndian.PutUint32(request[0:], id)
	if len(fds) == 3 {
		binary.NativeEndian.PutUint32(request[4:], hasStdin)
	}
	err = syscall.Sendmsg(r.socket, request[:], syscall.UnixRights(append([]int{memory}, fds...)...), nil, syscall.MSG_NOSIGNAL)
	r.mutex.Unlock()
	if err != nil {
		r.forget(id)
		return nil, err
	}
	select {
	case err := <-program.ready:
		if err != nil {
			r.forget(id)
			return nil, err
		}
		return program, nil
	case <-time.After(startDeadline):
		// It may still start; nobody knows what of. The machine is of no more use.
		endMachine(errors.New("the runner does not answer"))
		return nil, nil
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
	if !known {
		return nil // of a start that has failed: its process has ended as well
	}
	switch kind {
	case 'S':
		program.pid = sender
	case 'F':
		select {
		case program.ready <- startError{syscall.Errno(value), stage}:
		default:
		}
	case 'R':
		if program.pid == 0 {
			return errors.New("a program without a process")
		}
		select {
		case program.ready <- nil:
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
