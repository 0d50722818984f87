package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	maxHeadBytes = 8 << 20 // arguments and environment: 2 MiB at most, escaped as JSON
	maxRuns      = 256
	// What a program has written when it ends is passed on to the last byte; programs that it left behind keep its output open no longer.
	lastOutput = 100 * time.Millisecond
	// How long a program may wait for a place when the container is at its limit of processes.
	processPatience = 5 * time.Second
	// The most that a pipe can be made to hold by an ordinary user.
	maxPipeBytes = 1 << 20
)

type runRequest struct {
	Run   string   `json:"run"`
	Argv  []string `json:"argv"`
	Cwd   string   `json:"cwd"`
	Env   []string `json:"env"`
	Stdin bool     `json:"stdin"`
	// Of a program that is to have a terminal. Its input is that terminal's, whether the host has any or not.
	Terminal *terminalSize `json:"terminal"`
}

// The messages to the host: one of the fields is there.
type runMessage struct {
	Started *runStarted `json:"started,omitempty"`
	Failed  *runFailed  `json:"failed,omitempty"`
	Ended   *runEnded   `json:"ended,omitempty"`
}

type runStarted struct {
	PID int `json:"pid"`
}

type runFailed struct {
	// The errno's name where the host knows it, else its words.
	Code  string `json:"code"`
	Stage string `json:"stage"`
}

type runEnded struct {
	// One of the two is there.
	ExitCode *int `json:"exitCode,omitempty"`
	Signal   *int `json:"signal,omitempty"`
	// Processes of the container that were killed for want of memory while this one ran.
	OutOfMemoryKills int `json:"outOfMemoryKills"`
}

var runSlots = make(chan struct{}, maxRuns)

// run starts a program, moves its input and outputs, and tells of its end: the body of the request is the length-prefixed request and
// then the input; the answer is frames. A host that breaks off has the program killed. In a copy of this machine the program goes on
// with nobody at the other end of its streams.
func run(w http.ResponseWriter, r *http.Request) {
	var request runRequest
	if err := readHead(r.Body, maxHeadBytes, &request); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	out := newFrames(w)
	select {
	case runSlots <- struct{}{}:
		defer func() { <-runSlots }()
	default:
		out.message(runMessage{Failed: &runFailed{Code: "EAGAIN", Stage: "start"}})
		return
	}
	runner, err := containerRunner()
	if err != nil {
		out.message(runMessage{Failed: failure(err)})
		return
	}
	streams, err := request.open()
	if err != nil {
		out.message(runMessage{Failed: failure(err)})
		return
	}
	defer streams.close()
	kills := runner.outOfMemoryKills()
	program, err := startPatiently(r.Context(), runner, request.encode(), streams)
	if !streams.terminal() {
		streams.closeChilds()
	}
	if err != nil {
		out.message(runMessage{Failed: failure(err)})
		return
	}
	follow(r.Context(), request.Run, program, streams, r.Body, out)
	ended := runEnded{OutOfMemoryKills: max(0, runner.outOfMemoryKills()-kills)}
	if status := program.status; status.Signaled() {
		signal := int(status.Signal())
		ended.Signal = &signal
	} else {
		code := status.ExitStatus()
		ended.ExitCode = &code
	}
	out.message(runMessage{Ended: &ended})
}

// startPatiently waits a while for a place among the container's processes: those of a run that is being killed are about to go.
func startPatiently(host context.Context, runner *runner, spec []byte, streams *streams) (*started, error) {
	for deadline := time.Now().Add(processPatience); ; time.Sleep(20 * time.Millisecond) {
		program, err := runner.start(spec, streams)
		var failed startError
		if !errors.As(err, &failed) || failed.errno != syscall.EAGAIN || time.Now().After(deadline) || host.Err() != nil {
			return program, err
		}
	}
}

// follow answers when the program has ended and its output has been passed on.
func follow(host context.Context, marker string, program *started, streams *streams, input io.Reader, out *frames) {
	over := make(chan struct{})
	defer close(over)
	go func() {
		select {
		case <-host.Done():
			if isCopied(host) {
				return
			}
			if _, err := sendSignal(signalRequest{PID: program.pid, Run: marker}, syscall.SIGKILL); err != nil {
				report("kill: %v", err)
			}
		case <-over:
		}
	}()
	out.message(runMessage{Started: &runStarted{PID: program.pid}})
	if streams.stdin != nil {
		go func() {
			// A program that does not read its input is no failure.
			_, _ = io.Copy(streams.stdin, input)
			if !streams.terminal() {
				streams.stdin.Close()
			}
		}()
	}
	var copying sync.WaitGroup
	for kind, pipe := range streams.outputs() {
		copying.Add(1)
		go func() {
			defer copying.Done()
			pass(kind, pipe, out)
		}()
	}
	<-program.ended
	// Where nobody else has the terminal open, its output ends here.
	streams.closeChilds()
	soon := time.Now().Add(lastOutput)
	for _, pipe := range streams.outputs() {
		if err := pipe.SetReadDeadline(soon); err != nil {
			report("deadline: %v", err)
		}
	}
	copying.Wait()
}

// pass copies a pipe's content into frames, until its end or, after the program's, until it is empty. What nobody takes any more is
// thrown away: the program is about to be killed, or goes on in a copy of the machine it was started in.
func pass(kind byte, pipe *os.File, out *frames) {
	buffer := make([]byte, 32<<10)
	taken := true
	for late := 0; late < maxPipeBytes; {
		n, err := pipe.Read(buffer)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			n, err = readNow(pipe, buffer)
			late += n
		}
		if n > 0 && taken {
			taken = out.write(kind, buffer[:n]) == nil
		}
		if err != nil || n == 0 {
			return
		}
	}
}

// readNow reads what a pipe holds, without waiting: io.EOF when that is nothing.
func readNow(pipe *os.File, buffer []byte) (n int, err error) {
	connection, err := pipe.SyscallConn()
	if err != nil {
		return 0, err
	}
	if controlErr := connection.Control(func(fd uintptr) { n, err = syscall.Read(int(fd), buffer) }); controlErr != nil {
		return 0, controlErr
	}
	if n <= 0 {
		return 0, io.EOF
	}
	return n, err
}

func (r runRequest) open() (*streams, error) {
	if r.Terminal != nil {
		return openTerminal(*r.Terminal)
	}
	return openStreams(r.Stdin)
}

// encode writes the request as the runner reads it.
func (r runRequest) encode() []byte {
	env := append(r.Env, "GLOVEBOX_RUN="+r.Run)
	spec := binary.NativeEndian.AppendUint32(nil, uint32(len(r.Argv)))
	spec = binary.NativeEndian.AppendUint32(spec, uint32(len(env)))
	for _, part := range append(append([]string{r.Cwd}, r.Argv...), env...) {
		// The host refuses NUL before; what stands behind one would be another argument.
		spec = append(append(spec, strings.ReplaceAll(part, "\x00", "")...), 0)
	}
	return spec
}

var errnoNames = map[syscall.Errno]string{
	syscall.ENOENT: "ENOENT", syscall.EACCES: "EACCES", syscall.ENOTDIR: "ENOTDIR", syscall.EISDIR: "EISDIR", syscall.ENOEXEC: "ENOEXEC",
	syscall.ELOOP: "ELOOP", syscall.ENAMETOOLONG: "ENAMETOOLONG", syscall.E2BIG: "E2BIG", syscall.EAGAIN: "EAGAIN", syscall.ENOMEM: "ENOMEM",
	syscall.ENOSPC: "ENOSPC", syscall.EDQUOT: "EDQUOT", syscall.EROFS: "EROFS", syscall.EXDEV: "EXDEV", syscall.ENXIO: "ENXIO",
	syscall.ECONNREFUSED: "ECONNREFUSED",
}

func codeOf(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		if name, known := errnoNames[errno]; known {
			return name
		}
	}
	return err.Error()
}

func failure(err error) *runFailed {
	failed := runFailed{Code: codeOf(err), Stage: "start"}
	var start startError
	if errors.As(err, &start) {
		failed.Code = codeOf(start.errno)
		if start.stage == stageDirectory {
			failed.Stage = "directory"
		} else if start.stage == stageProgram {
			failed.Stage = "program"
		}
	}
	return &failed
}

// readHead reads the length-prefixed JSON value at the beginning of a request's body.
func readHead(body io.Reader, limit uint32, value any) error {
	var prefix [4]byte
	if _, err := io.ReadFull(body, prefix[:]); err != nil {
		return err
	}
	length := binary.BigEndian.Uint32(prefix[:])
	if length > limit {
		return errors.New("the request is too long")
	}
	content := make([]byte, length)
	if _, err := io.ReadFull(body, content); err != nil {
		return err
	}
	decoder := json.NewDecoder(strings.NewReader(string(content)))
	decoder.DisallowUnknownFields()
	return decoder.Decode(value)
}
