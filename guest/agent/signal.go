package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

type signalRequest struct {
	// Of the program; 0 when it has ended, and its number may be another's by now.
	PID    int    `json:"pid"`
	Run    string `json:"run"`
	Signal string `json:"signal"`
}

type signalAnswer struct {
	// Signals sent; none when everything had ended already.
	Signalled int `json:"signalled"`
	// Processes of the run that were still there at the end; always 0 but after SIGKILL.
	Remaining int `json:"remaining"`
}

var signals = map[string]syscall.Signal{
	"SIGINT":  syscall.SIGINT,
	"SIGTERM": syscall.SIGTERM,
	"SIGKILL": syscall.SIGKILL,
	"SIGHUP":  syscall.SIGHUP,
	"SIGQUIT": syscall.SIGQUIT,
	"SIGUSR1": syscall.SIGUSR1,
	"SIGUSR2": syscall.SIGUSR2,
}

// The bound on how long SIGKILL is repeated against processes that fork faster than they are killed.
const killDeadline = 20 * time.Second

func signalRun(w http.ResponseWriter, r *http.Request) {
	var request signalRequest
	if err := decodeStrict(r.Body, &request); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	signal, known := signals[request.Signal]
	if !known || request.PID < 0 || request.PID == 1 || request.Run == "" || strings.ContainsRune(request.Run, 0) {
		http.Error(w, "pid, run or signal is not valid", http.StatusBadRequest)
		return
	}
	answer, err := sendSignal(request, signal)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	writeJSON(w, answer)
}

// Other signals are sent once, so that no process gets one twice; SIGKILL until none of the run's processes is left.
func sendSignal(request signalRequest, signal syscall.Signal) (signalAnswer, error) {
	var answer signalAnswer
	for deadline := time.Now().Add(killDeadline); ; time.Sleep(time.Millisecond) {
		targets, err := signalOnce(request, signal, &answer)
		if err != nil || targets == 0 || signal != syscall.SIGKILL {
			answer.Remaining = 0
			return answer, err
		}
		if answer.Remaining = targets; time.Now().After(deadline) {
			return answer, nil
		}
	}
}

// Answers how many processes the run had. Programs that fork would outrun it, and reading of hundreds that run takes minutes: their
// container stands still while they are counted and signalled.
func signalOnce(request signalRequest, signal syscall.Signal, answer *signalAnswer) (int, error) {
	// One after the other: the end of one would set free what another is about to signal.
	signalling.Lock()
	defer signalling.Unlock()
	thaw, _, err := freeze()
	if err != nil {
		return 0, err
	}
	defer thaw()
	processes, err := containerProcesses("/proc")
	if err != nil {
		return 0, err
	}
	targets := selectRun(processes, request.PID, request.Run)
	answer.Signalled += kill(targets, signal)
	return len(targets), nil
}

func kill(pids []int, signal syscall.Signal) (sent int) {
	for _, pid := range pids {
		if syscall.Kill(pid, signal) == nil {
			sent++
		}
	}
	return sent
}

var signalling sync.Mutex

type process struct {
	pid, parent, group, session int
	environment                 []byte
}

// selectRun picks the run's processes: the leader, its group, its session, whoever carries the run's marker, and the
// descendants of all of these.
func selectRun(processes []process, leader int, run string) []int {
	marker := []byte("\x00GLOVEBOX_RUN=" + run + "\x00")
	children := map[int][]int{}
	var queue []int
	for _, p := range processes {
		children[p.parent] = append(children[p.parent], p.pid)
		if p.pid == leader || p.group == leader || p.session == leader || bytes.Contains(p.environment, marker) {
			queue = append(queue, p.pid)
		}
	}
	chosen := map[int]bool{}
	var pids []int
	for len(queue) > 0 {
		pid := queue[0]
		queue = queue[1:]
		if chosen[pid] {
			continue
		}
		chosen[pid] = true
		pids = append(pids, pid)
		queue = append(queue, children[pid]...)
	}
	return pids
}

// containerProcesses lists the live processes that are in a container's cgroup. Only these may ever be signalled, which
// leaves out the agent, the container engine and its shims. A process that ends meanwhile is passed over.
func containerProcesses(proc string) ([]process, error) {
	dirs, err := filepath.Glob(filepath.Join(proc, "[1-9]*"))
	if err != nil {
		return nil, err
	}
	var processes []process
	for _, dir := range dirs {
		cgroup, err := os.ReadFile(filepath.Join(dir, "cgroup"))
		if err != nil || !strings.HasPrefix(string(cgroup), "0::/docker/") {
			continue
		}
		stat, err := os.ReadFile(filepath.Join(dir, "stat"))
		if err != nil {
			continue
		}
		p, alive, err := parseStat(string(stat))
		if err != nil {
			return nil, err
		}
		if !alive {
			continue
		}
		p.environment = readEnvironment(filepath.Join(dir, "environ"))
		processes = append(processes, p)
	}
	return processes, nil
}

// parseStat reads the first fields of /proc/<pid>/stat. The name in parentheses is the program's to choose and may hold anything.
func parseStat(stat string) (p process, alive bool, err error) {
	open, end := strings.IndexByte(stat, '('), strings.LastIndexByte(stat, ')')
	if open < 0 || end < open {
		return p, false, fmt.Errorf("unexpected process state: %q", stat)
	}
	fields := strings.Fields(stat[end+1:])
	if len(fields) < 4 {
		return p, false, fmt.Errorf("unexpected process state: %q", stat)
	}
	for i, target := range []*int{&p.parent, &p.group, &p.session} {
		if *target, err = strconv.Atoi(fields[i+1]); err != nil {
			return p, false, err
		}
	}
	p.pid, err = strconv.Atoi(strings.TrimSpace(stat[:open]))
	return p, fields[0] != "Z" && fields[0] != "X", err
}

// The block begins and ends with NUL, so that a variable can be searched with its delimiters.
func readEnvironment(path string) []byte {
	environment := []byte{0}
	file, err := os.Open(path)
	if err != nil {
		return environment
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, 1<<20))
	if err != nil {
		return environment
	}
	return append(append(environment, content...), 0)
}
