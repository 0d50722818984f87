package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
)

const (
	dockerSocket     = "/run/docker.sock"
	containerdSocket = "/run/containerd/containerd.sock"
	containerdConfig = "/run/containerd/config.toml"
	runtimes         = "/run/runtimes"
)

// Plug-ins that a machine with one container engine and no network has no use for; without them containerd starts faster.
const containerdSettings = `version = 2
root = "/var/lib/docker/containerd/daemon"
state = "/run/containerd"
disabled_plugins = [
  "io.containerd.grpc.v1.cri",
  "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.blockfile",
  "io.containerd.tracing.processor.v1.otlp",
  "io.containerd.internal.v1.tracing",
  "io.containerd.nri.v1.nri",
  "io.containerd.internal.v1.restart",
]
[grpc]
address = "` + containerdSocket + `"
[debug]
level = "error"
`

var dockerdArguments = []string{
	"--host", "unix://" + dockerSocket,
	"--group", "root",
	"--containerd", containerdSocket,
	"--pidfile", "/run/docker.pid",
	"--storage-driver", "overlay2",
	"--add-runtime", "crun=/usr/bin/crun",
	"--default-runtime", "crun",
	"--init-path", "/usr/bin/docker-init",
	"--exec-opt", "native.cgroupdriver=cgroupfs",
	// No network device: nothing to bridge, filter or forward.
	"--bridge", "none",
	"--iptables=false",
	"--ip6tables=false",
	"--ip-forward=false",
	"--ip-masq=false",
	"--userland-proxy=false",
	"--log-level", "error",
}

// Starts containerd and dockerd side by side; dockerd waits for the other's socket by itself. Answers their names by process id.
func startEngine() (map[int]string, error) {
	if err := os.MkdirAll("/run/containerd", 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(containerdConfig, []byte(containerdSettings), 0o600); err != nil {
		return nil, err
	}
	// dockerd does not start without a `runc`, whatever its default runtime is.
	if err := errors.Join(os.Mkdir(runtimes, 0o755), os.Symlink("/usr/bin/crun", runtimes+"/runc")); err != nil {
		return nil, err
	}
	daemons := map[int]string{}
	for _, argv := range [][]string{
		{"/usr/bin/containerd", "--config", containerdConfig},
		append([]string{"/usr/sbin/dockerd"}, dockerdArguments...),
	} {
		pid, err := startDaemon(argv)
		if err != nil {
			return nil, fmt.Errorf("start %s: %w", argv[0], err)
		}
		daemons[pid] = argv[0]
		report("started %s", argv[0])
	}
	return daemons, nil
}

// ForkExec and not os/exec: `reap` collects the child.
func startDaemon(argv []string) (int, error) {
	output, input, err := os.Pipe()
	if err != nil {
		return 0, err
	}
	defer input.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		return 0, err
	}
	defer null.Close()
	pid, err := syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{
		Dir:   "/",
		Env:   []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin:" + runtimes, "HOME=/root"},
		Files: []uintptr{null.Fd(), input.Fd(), input.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return 0, err
	}
	// When memory runs out a container's process is to be killed, never the engine.
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte("-999"), 0); err != nil {
		return 0, err
	}
	go copyLog(output)
	return pid, nil
}

// The console is slow and the host keeps little of it: the first lines of a daemon's log go there, the rest nowhere.
func copyLog(output *os.File) {
	lines := bufio.NewReader(io.LimitReader(output, 16<<10))
	for {
		line, err := lines.ReadString('\n')
		if line != "" {
			report("%.400s", strings.TrimRight(line, "\n"))
		}
		if err != nil {
			break
		}
	}
	if _, err := io.Copy(io.Discard, output); err != nil {
		report("log: %v", err)
	}
}
