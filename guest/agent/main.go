// The guest agent: the only program of ours in a sandbox's machine. One static binary with two lives: in the initramfs
// (`/init`) it loads modules and mounts the root; as `/sbin/init` it is process 1 of the guest, starts the container
// engine and serves the channel to the host. It trusts the host and nothing that runs in a container.
package main

import (
	"fmt"
	"os"
	"syscall"
	"time"
)

// Printed as soon as user space runs. The host waits for it when it tries out an accelerator.
const userSpaceMarker = "glovebox: user space"

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "the guest agent runs as process 1 only")
		os.Exit(2)
	}
	// One process all the way: running the root's copy of this program would cost an emulated machine half a second.
	if os.Args[0] == "/init" {
		if err := switchToRoot(); err != nil {
			endMachine(err)
		}
	}
	endMachine(runSystem())
}

// The console is the only place to report to before the channel is up. One line each, so that the host sees progress.
func report(format string, values ...any) {
	fmt.Fprintf(os.Stderr, "glovebox: "+format+"\n", values...)
}

// A guest that cannot do its work ends its machine: the host sees that at once, with the reason as the console's last line.
func endMachine(reason error) {
	report("ending the machine: %v", reason)
	time.Sleep(50 * time.Millisecond) // the serial console drains
	if err := syscall.Reboot(syscall.LINUX_REBOOT_CMD_RESTART); err != nil {
		os.Exit(1) // the kernel panics when process 1 exits, which ends the machine as well
	}
	select {}
}

type mount struct {
	source, target, kind string
	flags                uintptr
	options              string
}

func mountAll(mounts []mount) error {
	for _, m := range mounts {
		if err := os.MkdirAll(m.target, 0o755); err != nil && !os.IsExist(err) {
			return err
		}
		if err := syscall.Mount(m.source, m.target, m.kind, m.flags, m.options); err != nil {
			return fmt.Errorf("mount %s on %s: %w", m.kind, m.target, err)
		}
	}
	return nil
}

// Waits for what a driver is about to make; drivers probe their devices asynchronously.
func waitFor(what string, ready func() bool) error {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if ready() {
			return nil
		}
	}
	return fmt.Errorf("%s did not appear", what)
}
