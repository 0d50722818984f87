package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// What keeps the container's runner going: programs of its user can stop a new process before it is a program, and the runner waits for it.

const (
	// A new process may be kept from becoming its program; it is woken this often, and killed after the deadline.
	wakeInterval  = 200 * time.Millisecond
	startDeadline = 20 * time.Second
	// A runner that is silent even then is of no more use.
	killPatience = 10 * time.Second
)

// await answers when the program runs, or could not be started. Until it is the program, the new process shares the runner's memory
// and the runner waits for it: whoever stops it (programs of its user can) would hold up everything else that is to start.
func (r *runner) await(program *started) error {
	wake := time.NewTicker(wakeInterval)
	defer wake.Stop()
	for {
		select {
		case err := <-program.ready:
			return err
		case <-wake.C:
			r.urge()
		}
	}
}

// hear notes that the runner goes on.
func (r *runner) hear() { r.heard, r.killed = time.Now(), time.Time{} }

func (r *runner) answered() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	r.waiting--
}

// urge wakes what is starting, kills it when the runner has long been silent, and gives the machine up when that was of no use. The time
// counts from the runner's last answer: one start after the other may be held up, and those that wait behind it have done nothing wrong.
func (r *runner) urge() {
	r.mutex.Lock()
	defer r.mutex.Unlock()
	// Once for all that wait: it looks at every child of the runner.
	if time.Since(r.urged) < wakeInterval/2 {
		return
	}
	r.urged = time.Now()
	switch {
	// Time may have leapt, where the machine stood still: the runner has its patience from the kill on.
	case !r.killed.IsZero() && time.Since(r.killed) > killPatience:
		endMachine(errors.New("the runner does not answer"))
	case r.killed.IsZero() && time.Since(r.heard) > startDeadline:
		r.killed = r.urged
		r.signalStarting(syscall.SIGKILL)
	default:
		r.signalStarting(syscall.SIGCONT)
	}
}

// signalStarting signals the runner's children that are not programs yet. There is no telling whose start they are: one that was
// stopped early has not announced itself.
func (r *runner) signalStarting(signal syscall.Signal) {
	proc := fmt.Sprintf("/proc/%d/", r.pid)
	own, err := os.Readlink(proc + "exe")
	if err != nil {
		return // it has ended, which is noticed elsewhere
	}
	children, err := os.ReadFile(fmt.Sprintf("%stask/%d/children", proc, r.pid))
	if err != nil {
		return
	}
	for _, child := range strings.Fields(string(children)) {
		if program, err := os.Readlink("/proc/" + child + "/exe"); err != nil || program != own {
			continue
		}
		if pid, err := strconv.Atoi(child); err == nil {
			kill([]int{pid}, signal)
		}
	}
}
