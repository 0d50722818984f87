package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestOnlyTheFirstProcessOfAContainerIsTheRunner(t *testing.T) {
	for status, want := range map[string]bool{
		"Name:\trunner\nNSpid:\t431\t1\n":          true,
		"NSpid:\t431\t2\n":                         false, // another process of a container
		"NSpid:\t1\n":                              false, // the machine's own
		"NSpid:\t431\t7\t1\n":                      false, // of a namespace below the container's
		"Name:\tx\n":                               false,
		"Name:\tNSpid:\t431\t1\nNSpid:\t431\t12\n": false, // the name is the program's to choose; the kernel escapes its line breaks
	} {
		if got := isFirstProcess(status); got != want {
			t.Errorf("%q: got %v", status, got)
		}
	}
}

const (
	runnerPID = 100
	childPID  = 101
)

// A runner of which one start is under way, with id 1.
func starting() (*runner, *started) {
	program := &started{ready: make(chan error, 1), ended: make(chan struct{})}
	return &runner{pid: runnerPID, starts: map[uint32]*started{1: program}}, program
}

func TestAStart(t *testing.T) {
	r, program := starting()
	for _, step := range []error{r.take('S', 1, 0, 0, childPID), r.take('R', 1, 0, 0, runnerPID), <-program.ready, r.take('X', 1, 3<<8, 0, runnerPID)} {
		if step != nil {
			t.Fatal(step)
		}
	}
	<-program.ended
	if program.pid != childPID || program.status.ExitStatus() != 3 || len(r.starts) != 0 {
		t.Fatalf("got %+v, %v", program, r.starts)
	}
}

func TestAStartThatFails(t *testing.T) {
	r, program := starting()
	steps := errors.Join(r.take('S', 1, 0, 0, childPID), r.take('F', 1, int32(syscall.ENOENT), stageProgram, childPID), r.take('R', 1, 0, 0, runnerPID))
	if err := <-program.ready; steps != nil || err != (startError{syscall.ENOENT, stageProgram}) {
		t.Fatalf("got %v, %v", steps, err)
	}
	// What comes of it later is of no interest.
	r.forget(1)
	if err := r.take('X', 1, 127<<8, 0, runnerPID); err != nil {
		t.Fatal(err)
	}
}

func TestAProcessThatIsKilledBeforeItAnnouncesItself(t *testing.T) {
	r, program := starting()
	if err := r.take('R', 1, 0, 0, runnerPID); err != nil {
		t.Fatal(err)
	}
	if err := <-program.ready; !errors.Is(err, errKilled) {
		t.Fatalf("got %v", err)
	}
}

func TestAStartThatIsKilledForBeingLate(t *testing.T) {
	r, program := starting()
	close(program.ended) // so that nothing is signalled here
	r.heard, r.killed = time.Now().Add(-time.Hour), time.Now()
	if err := r.take('S', 1, 0, 0, childPID); err != nil || r.killed.IsZero() || time.Since(r.heard) < time.Hour {
		t.Fatalf("a new process is no sign of the runner's: %v, %+v", err, r)
	}
	if err := r.take('R', 1, 0, 0, runnerPID); err != nil || !r.killed.IsZero() || time.Since(r.heard) > time.Minute {
		t.Fatalf("those that wait have their own time from now: %v, %+v", err, r)
	}
	if err := <-program.ready; !errors.Is(err, errStuck) {
		t.Fatalf("got %v", err)
	}
}

func TestARunnerThatIsNotBelieved(t *testing.T) {
	for name, messages := range map[string][][2]int{
		"a kind that is none":                 {{'Z', runnerPID}},
		"an announcement of the runner's own": {{'S', runnerPID}},
		"two processes of one start":          {{'S', childPID}, {'S', childPID + 1}},
		"an end that another tells":           {{'S', childPID}, {'X', childPID}},
		"a success that another tells":        {{'S', childPID}, {'R', childPID}},
	} {
		r, _ := starting()
		var err error
		for _, it := range messages {
			err = r.take(uint32(it[0]), 1, 0, 0, it[1])
		}
		if err == nil {
			t.Errorf("%s was taken", name)
		}
	}
}

func TestTheSpecIsWhatTheRunnerReads(t *testing.T) {
	request := runRequest{Run: "r1", Argv: []string{"a", "", "b\x00c"}, Cwd: "/w", Env: []string{"X=1"}}
	spec := request.encode()
	if argc, envc := binary.NativeEndian.Uint32(spec), binary.NativeEndian.Uint32(spec[4:]); argc != 3 || envc != 2 {
		t.Fatalf("got %d arguments, %d variables", argc, envc)
	}
	if got, want := string(spec[8:]), "/w\x00a\x00\x00bc\x00X=1\x00GLOVEBOX_RUN=r1\x00"; got != want {
		t.Fatalf("got %q", got)
	}
}

func TestReadHead(t *testing.T) {
	head := func(text string) []byte {
		return append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...)
	}
	var request runRequest
	body := bytes.NewReader(append(head(`{"run":"r","argv":["x"],"cwd":"/","env":[],"stdin":true}`), "input"...))
	if err := readHead(body, 100, &request); err != nil || request.Run != "r" || body.Len() != len("input") {
		t.Fatalf("got %+v, %v, %d bytes left", request, err, body.Len())
	}
	for _, bad := range [][]byte{
		nil, {0, 0}, head("{")[:4], head(""), head(`{"root":true}`), head(strings.Repeat(" ", 101)), head(`{"run":1}`),
		head(`{"terminal":{"columns":65536,"rows":1}}`), head(`{"terminal":{"columns":-1,"rows":1}}`), {255, 255, 255, 255},
	} {
		if err := readHead(bytes.NewReader(bad), 100, &runRequest{}); err == nil {
			t.Errorf("took %q", bad)
		}
	}
}

func TestNamesOf(t *testing.T) {
	for path, want := range map[string][]string{"/": nil, "/a": {"a"}, "/a/b c/..d": {"a", "b c", "..d"}, "/proc": {"proc"}} {
		if got, err := namesOf(path); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: got %q, %v", path, got, err)
		}
	}
	for _, path := range []string{"", "a", "/a/", "//a", "/a/../b", "/..", "/.", "/a\x00b", "/proc/1/root/etc", "/sys/x", "/dev/vda"} {
		if _, err := namesOf(path); err == nil {
			t.Errorf("took %q", path)
		}
	}
}
