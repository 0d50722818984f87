import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connect, machinePids, type TestClient, type TestData, testData } from "../support/gateway.ts";

/** What an agent that tries finds from inside the sandbox. */
let data: TestData;
let agent: TestClient;

beforeAll(async () => {
  data = testData();
  agent = await connect(data, ["--policy", new URL("../../policies/development", import.meta.url).pathname]);
  const first = await agent.call("exec", { argv: ["true"] });
  expect(first.isError, first.text).toBe(false);
});

afterAll(async () => {
  await agent?.[Symbol.asyncDispose]();
  data?.[Symbol.dispose]();
});

async function shell(script: string): Promise<string> {
  const ran = await agent.call("shell", { script, timeoutMs: 60_000 });
  expect(ran.isError, ran.text).toBe(false);
  return `${ran.result.stdout}${ran.result.stderr}`;
}

async function python(code: string): Promise<string> {
  const ran = await agent.call("exec", { argv: ["python3", "-c", code], timeoutMs: 60_000 });
  expect(ran.isError, ran.text).toBe(false);
  return `${ran.result.stdout}${ran.result.stderr}`;
}

const LONG = { timeout: 90_000 };

describe("privileges [G9]", () => {
  test("not root, no capabilities, no new privileges, seccomp on", LONG, async () => {
    const status = await shell("cat /proc/self/status");
    expect(status).toMatch(/^Uid:\t1000\t1000\t1000\t1000$/m);
    for (const set of ["Inh", "Prm", "Eff", "Bnd", "Amb"]) expect(status).toMatch(new RegExp(`^Cap${set}:\\t0+$`, "m"));
    expect(status).toMatch(/^NoNewPrivs:\t1$/m);
    expect(status).toMatch(/^Seccomp:\t2$/m);
  });

  test(
    "can't become root: no set-uid file, no user namespace, no setuid call, no ptrace of another user's process",
    LONG,
    async () => {
      expect(await shell("find / -xdev -perm /6000 -type f 2>/dev/null")).toBe("");
      expect(await shell("unshare -Ur id -u; unshare -m true; echo $?")).not.toMatch(/^0\n0$/);
      const calls = await python(
        "import os\nfor f in (lambda: os.setuid(0), lambda: os.chroot('/tmp'), lambda: os.mknod('/tmp/sda', 0o60600, os.makedev(254, 0))):\n  try: f(); print('worked')\n  except OSError as e: print('refused')",
      );
      expect(calls).toBe("refused\nrefused\nrefused\n");
    },
  );

  test("can't mount, load a module, set the clock, reboot or read the kernel's log", LONG, async () => {
    const code = `
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
# mount, finit_module, clock_settime, reboot, syslog, bpf, keyctl, kexec_load, swapon
for number in (165, 313, 227, 169, 103, 321, 250, 246, 167):
    libc.syscall(number, 0, 0, 0, 0, 0)
    print(ctypes.get_errno() in (1, 38))
`;
    expect(
      (await python(code))
        .trim()
        .split("\n")
        .every((it) => it === "True"),
    ).toBe(true);
  });
});

describe("the way out [G8] [G10]", () => {
  test(
    "there is no network device but loopback, and whatever is dialled is the gateway's to refuse [G19]",
    LONG,
    async () => {
      expect((await shell("ls /sys/class/net")).trim()).toBe("lo");
      expect((await shell("tail -n +2 /proc/net/route; cat /proc/net/ipv6_route | grep -v lo")).trim()).toBe("");
      const code = `
import socket
for host in ('192.0.2.1', '169.254.169.254', '10.0.2.2', 'example.org', '127.0.0.1'):
    s = socket.socket(); s.settimeout(5)
    try:
        s.connect((host, 80)); s.sendall(b'GET / HTTP/1.0\\r\\nHost: ' + host.encode() + b'\\r\\n\\r\\n')
        print(s.recv(999).split(b'\\r\\n')[0].decode())
    except OSError as e: print('refused')
for family, kind in ((socket.AF_PACKET, socket.SOCK_RAW), (socket.AF_INET, socket.SOCK_RAW), (40, socket.SOCK_STREAM)):
    try: socket.socket(family, kind, 1 if family == socket.AF_INET else 0); print('opened')
    except OSError: print('refused')
`;
      const answers = (await python(code)).trim().split("\n");
      expect(answers.slice(0, 4)).toEqual(Array(4).fill("HTTP/1.1 403 Forbidden"));
      expect(answers.slice(4, 7)).toEqual(["refused", "refused", "refused"]);
    },
  );

  test("no Docker, containerd or other socket, and no virtio port, can be reached", LONG, async () => {
    expect(
      await shell(
        "find / -xdev -type s 2>/dev/null; ls /var/run/docker.sock /run/docker.sock /run/containerd 2>/dev/null",
      ),
    ).toBe("");
    // The first process called the guest agent by it, once: nobody listens any more.
    const calling =
      "import socket; socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET).connect('/.glovebox/runner.sock')";
    expect(await shell(`python3 -c "${calling}" 2>&1`)).toContain("ConnectionRefusedError");
    expect(await shell("ls /dev | grep -E 'vport|hvc|vd|sd|kmsg|mem|port|kvm'")).toBe("");
    const names = (await shell("cat /proc/net/unix")).match(/\S*(docker|containerd|glovebox)\S*/gi) ?? [];
    expect(names.filter((it) => it !== "/run/glovebox/runner.sock")).toEqual([]);
  });

  test("no file of the host is visible", LONG, async () => {
    const hostname = readFileSync("/etc/hostname", "utf8").trim();
    expect(await shell("cat /etc/hostname /proc/sys/kernel/hostname")).not.toContain(`${hostname}\n${hostname}`);
    expect(await shell("cat /proc/cmdline /proc/mounts")).not.toContain(data.directory);
    expect(await shell("grep -E ' (9p|virtiofs|fuse|nfs|cifs) ' /proc/mounts")).toBe("");
    expect(await shell(`ls ${data.directory} ${process.cwd()} 2>&1 | grep -v 'No such file'`)).toBe("");
    const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
    expect((await shell("cat /proc/sys/kernel/random/boot_id")).trim()).not.toBe(boot);
  });

  test("kernel interfaces are masked or read-only", LONG, async () => {
    expect(
      await shell(
        "echo 1 2>/dev/null > /proc/sys/kernel/panic; echo b 2>/dev/null > /proc/sysrq-trigger; echo x 2>/dev/null > /sys/kernel/uevent_helper; cat /proc/kcore 2>/dev/null | head -c 1 | wc -c; wc -c < /proc/keys 2>/dev/null; ls -A /sys/firmware 2>/dev/null",
      ),
    ).toMatch(/^0\n(0\n)?$/);
    expect(
      await shell(
        "touch /sys/fs/cgroup/x 2>/dev/null; mkdir /sys/fs/cgroup/y 2>/dev/null; ls -d /sys/fs/cgroup/[xy] 2>/dev/null",
      ),
    ).toBe("");
  });

  test(
    "the program that attests cannot be read, traced or spoken for by another of the same user [G11]",
    LONG,
    async () => {
      // It stands still in the middle of its answer, with its output full.
      const script = [
        "sleep 20 & other=$!",
        "(/.glovebox/inside '</proc/self/mountinfo' $(yes '</proc/self/status' | head -200) | sleep 20) & sleep 1",
        "witness=$(grep -lx inside /proc/[0-9]*/comm | cut -d/ -f3)",
        "for pid in $other $witness; do cat /proc/$pid/environ > /dev/null 2>&1 && echo open || echo shut; done",
        "cat /.glovebox/inside > /dev/null 2>&1 || echo unreadable",
      ];
      expect(await shell(script.join("\n"))).toBe("open\nshut\nunreadable\n");
    },
  );

  test("the program that attests cannot be replaced", LONG, async () => {
    expect(
      await shell(
        "echo x 2>/dev/null > /.glovebox/inside; rm -f /.glovebox/inside 2>/dev/null; mv /.glovebox /tmp/g 2>/dev/null; test -x /.glovebox/inside && echo there",
      ),
    ).toBe("there\n");
  });
});

describe("other local users [G17]", () => {
  test("can read nothing below the data directory and find no socket of a machine", LONG, async () => {
    const { spawnSync } = await import("node:child_process");
    if (process.getuid?.() !== 0) throw new Error("this test needs root to become another user");
    const asNobody = (...argv: string[]) =>
      spawnSync("setpriv", ["--reuid=65534", "--regid=65534", "--clear-groups", ...argv], { encoding: "utf8" });
    const audit = asNobody("find", `${data.directory}/audit`, "-type", "f");
    expect(audit.stdout).toBe("");
    const state = asNobody("find", `${data.directory}/state`, "-readable", "-type", "f");
    expect(state.stdout).toBe("");
    expect(machinePids(data).length).toBeGreaterThan(0);
    expect(asNobody("find", data.directory, "-type", "s").stdout).toBe("");
    const sockets = spawnSync("find", [data.directory, "-type", "s"], { encoding: "utf8" }).stdout.trim().split("\n");
    // The gateway's own, by which its user asks for an inspection.
    expect(sockets.filter((it) => !/\/gateways\/gw-[0-9a-z]+\/inspection\/socket$/.test(it))).toEqual([]);
    for (const pid of machinePids(data)) {
      const status = readFileSync(`/proc/${pid}/status`, "utf8");
      expect(status).not.toMatch(/^Uid:\t0\t/m);
      expect(status).toMatch(/^NoNewPrivs:\t1$/m);
      expect(status).toMatch(/^Seccomp:\t2$/m);
      expect(status).toMatch(/^CapEff:\t0+$/m);
    }
  });
});
