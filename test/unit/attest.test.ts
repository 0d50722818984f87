import { Readable } from "node:stream";
import { expect, test } from "vitest";
import type { Run, RunExit, RunSpec } from "../../src/container/container.ts";
import { type Attestation, type AttestOptions, attest } from "../../src/engine/attest.ts";
import { profileSchema } from "../../src/policy/profile.ts";
import { answersOf } from "../support/witness.ts";

const BOOT_ID = "11111111-2222-3333-4444-555555555555";
const ELSEWHERE = "99999999-2222-3333-4444-555555555555";
const CONTAINER = "c".repeat(64);
const VOLUME = `/docker/volumes/${"d".repeat(64)}/_data`;

type Mount = Attestation["mounts"][number];

function mount(target: string, fstype: string, more: Partial<Mount> = {}): Mount {
  return { target, fstype, root: "/", options: ["rw", "nosuid"], ...more };
}

/** What a sandbox that is all right says. */
const GOOD: Attestation = {
  bootId: BOOT_ID,
  kernelRelease: "6.1.0-56-cloud-amd64",
  hostname: "sandbox-1",
  uids: [1000, 1000, 1000, 1000],
  gids: [1000, 1000, 1000, 1000],
  groups: [1000],
  capabilities: {
    inheritable: "0000000000000000",
    permitted: "0000000000000000",
    effective: "0000000000000000",
    bounding: "0000000000000000",
    ambient: "0000000000000000",
  },
  noNewPrivs: true,
  seccompMode: 2,
  mounts: [
    mount("/", "overlay", { options: ["ro", "relatime"] }),
    mount("/proc", "proc"),
    mount("/proc/sys", "proc", { root: "/sys", options: ["ro"] }),
    mount("/proc/kcore", "tmpfs", { root: "/null" }),
    mount("/dev", "tmpfs"),
    mount("/dev/pts", "devpts"),
    mount("/dev/mqueue", "mqueue"),
    mount("/dev/shm", "tmpfs"),
    mount("/sys", "sysfs", { options: ["ro"] }),
    mount("/sys/fs/cgroup", "cgroup2", { options: ["ro"] }),
    mount("/sys/firmware", "tmpfs", { options: ["ro"] }),
    mount("/workspace", "ext4", { root: VOLUME }),
    mount("/tmp", "ext4", { root: VOLUME }),
    mount("/home/agent", "ext4", { root: VOLUME }),
    mount("/etc/hosts", "ext4", { root: `/docker/containers/${CONTAINER}/hosts` }),
    mount("/etc/hostname", "ext4", { root: `/docker/containers/${CONTAINER}/hostname` }),
    mount("/etc/resolv.conf", "ext4", { root: `/docker/containers/${CONTAINER}/resolv.conf` }),
    mount("/.glovebox/inside", "erofs", { root: "/usr/libexec/glovebox/inside", options: ["ro"] }),
  ],
  unmaskedPaths: [],
  writablePaths: [],
  sockets: [],
  interfaces: ["lo"],
  routes: [],
  devices: ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty", "/dev/pts/ptmx"],
  pidsMax: 512,
  memoryMaxBytes: 800_000_000,
};

/** A container in which the kernel says so, or whose witness says that. */
function witness(
  facts: Partial<Attestation> | Buffer,
  exit: RunExit = { by: "exit", exitCode: 0 },
): AttestOptions["container"] {
  const said = Buffer.isBuffer(facts) ? facts : answersOf(facts);
  return {
    run: async (_spec: RunSpec): Promise<Run> => ({
      stdout: Readable.from([said]),
      stderr: Readable.from([Buffer.from("oh \u001b[31mno")]),
      exit: Promise.resolve(exit),
      signal: async () => undefined,
    }),
  };
}

function options(facts: Partial<Attestation> | Buffer, more: Partial<AttestOptions> = {}): AttestOptions {
  return {
    container: witness(facts),
    machine: {
      facts: { engine: "qemu", engineVersion: "10.0", level: "microvm", acceleration: "tcg", start: "cold", pid: 1 },
      guest: { bootId: BOOT_ID, kernelRelease: GOOD.kernelRelease },
    },
    profile: profileSchema.parse({}),
    hostname: GOOD.hostname,
    hostBootId: ELSEWHERE,
    otherBootIds: new Set(["88888888-2222-3333-4444-555555555555"]),
    signal: new AbortController().signal,
    ...more,
  };
}

function refusal(words: string) {
  return expect.objectContaining({ code: "ISOLATION_BELOW_FLOOR", message: expect.stringContaining(words) });
}

test("a sandbox that is all right is attested with its facts", async () => {
  expect(await attest(options(GOOD))).toEqual(GOOD);
});

const { pidsMax: _pids, ...noPids } = GOOD;
const { memoryMaxBytes: _memory, ...noMemory } = GOOD;

test.each<[string, Partial<Attestation>, string]>([
  ["another kernel than the machine's", { ...GOOD, kernelRelease: "6.6.0-host" }, "is not the machine's"],
  ["a boot id that is not the machine's", { ...GOOD, bootId: ELSEWHERE }, "is not the machine's"],
  ["another sandbox's name", { ...GOOD, hostname: "sandbox-2" }, "called sandbox-2, not sandbox-1"],
  ["root", { ...GOOD, uids: [0, 0, 0, 0] }, "user ids are 0 0 0 0"],
  ["a saved root id", { ...GOOD, uids: [1000, 1000, 0, 1000] }, "user ids"],
  ["the root group", { ...GOOD, gids: [1000, 0, 1000, 1000] }, "group ids"],
  ["root among the groups", { ...GOOD, groups: [1000, 0] }, "root group"],
  ...Object.keys(GOOD.capabilities).map((set): [string, Partial<Attestation>, string] => [
    `an ${set} capability`,
    { ...GOOD, capabilities: { ...GOOD.capabilities, [set]: "0000000000000400" } },
    `${set} capabilities are 0000000000000400`,
  ]),
  ["new privileges", { ...GOOD, noNewPrivs: false }, "no-new-privileges"],
  ["no seccomp", { ...GOOD, seccompMode: 0 }, "seccomp mode is 0"],
  ["a socket", { ...GOOD, sockets: ["/var/run/docker.sock"] }, "/var/run/docker.sock"],
  ["an interface", { ...GOOD, interfaces: ["lo", "eth0"] }, "lo eth0"],
  ["a route", { ...GOOD, routes: ["eth0 00000000"] }, "routes"],
  ["a disk", { ...GOOD, devices: [...GOOD.devices, "/dev/vda"] }, "/dev/vda"],
  ["an open kernel path", { ...GOOD, unmaskedPaths: ["/proc/keys"] }, "not hidden: /proc/keys"],
  ["a kernel path that can be written", { ...GOOD, writablePaths: ["/proc/irq"] }, "can be written: /proc/irq"],
  ["no limit of processes", noPids, "limit of processes is absent"],
  ["a higher limit of processes", { ...GOOD, pidsMax: 513 }, "is 513, not 512"],
  ["no limit of memory", noMemory, "memory limit is absent"],
])("%s is refused [G11]", async (_name, facts, words) => {
  await expect(attest(options(facts))).rejects.toEqual(refusal(words));
});

test.each<[string, Mount]>([
  ["a shared folder", mount("/workspace", "virtiofs", { root: VOLUME })],
  ["a shared folder of another kind", mount("/mnt", "9p")],
  ["a directory of the machine", mount("/workspace", "ext4", { root: "/var/lib/docker" })],
  ["the machine's root", mount("/host", "erofs")],
  ["a writable witness", mount("/.glovebox/inside", "erofs", { root: "/usr/libexec/glovebox/inside" })],
  ["another witness", mount("/.glovebox/inside", "ext4", { root: "/evil", options: ["ro"] })],
  ["a writable /sys", mount("/sys", "sysfs")],
  ["a file system over a kernel path", mount("/proc/sys/x", "ext4")],
  ["a target that is also a property", mount("constructor", "ext4")],
])("%s among the mounts is refused", async (_name, strange) => {
  const facts = { ...GOOD, mounts: [...GOOD.mounts, strange] };
  await expect(attest(options(facts))).rejects.toEqual(refusal(`unexpected mount of ${strange.fstype}`));
});

test("a volume of the image is no host mount", async () => {
  const facts = { ...GOOD, mounts: [...GOOD.mounts, mount("/var/lib/postgresql", "ext4", { root: VOLUME })] };
  expect(await attest(options(facts))).toEqual(facts);
});

test("the root may be written only when the profile says so", async () => {
  const facts = { ...GOOD, mounts: [...GOOD.mounts, mount("/", "overlay")] };
  await expect(attest(options(facts))).rejects.toEqual(refusal("root file system can be written"));
  const profile = profileSchema.parse({ writableRoot: true });
  expect(await attest(options(facts, { profile }))).toEqual(facts);
});

test("the host's kernel, another session's, and a level below the floor are refused [G2] [G11]", async () => {
  await expect(attest(options(GOOD, { hostBootId: BOOT_ID }))).rejects.toEqual(refusal("the host's"));
  await expect(attest(options(GOOD, { otherBootIds: new Set([BOOT_ID]) }))).rejects.toEqual(
    refusal("another session's"),
  );
  const { machine } = options(GOOD);
  const shared = { ...machine, facts: { ...machine.facts, level: "shared-kernel" as const } };
  await expect(attest(options(GOOD, { machine: shared, hostBootId: BOOT_ID }))).rejects.toEqual(
    refusal("profile's floor"),
  );
  const profile = profileSchema.parse({ isolation: { floor: "shared-kernel" } });
  expect(await attest(options(GOOD, { machine: shared, hostBootId: BOOT_ID, profile }))).toEqual(GOOD);
  expect(await attest(options(GOOD, { profile }))).toEqual(GOOD);
});

test("every fact that failed is named", async () => {
  const facts = { ...GOOD, seccompMode: 0, noNewPrivs: false, interfaces: ["eth0"] };
  const message = await attest(options(facts)).catch((error: unknown) => String(error));
  expect(message).toMatch(/no-new-privileges is off.*seccomp mode is 0.*eth0/);
});

const WHOLE = answersOf(GOOD);

test.each<[string, Partial<Attestation> | Buffer]>([
  ["nothing", Buffer.from("")],
  ["anything", Buffer.from("certainly!\n")],
  ["too much", Buffer.alloc(300_000, " ")],
  ["half of it", WHOLE.subarray(0, WHOLE.length / 2)],
  ["all but a byte", WHOLE.subarray(0, -1)],
  ["more than it is asked", Buffer.concat([WHOLE, Buffer.from("1\nx")])],
  ["a length that is none", Buffer.concat([Buffer.from("1e1\n0123456789"), WHOLE])],
  ["nothing of its name", { ...GOOD, hostname: undefined } as never],
  ["nothing of its users", { ...GOOD, uids: undefined } as never],
  ["nothing of its capabilities", { ...GOOD, capabilities: undefined } as never],
  ["nothing of its filter", { ...GOOD, seccompMode: undefined } as never],
  ["nothing of its devices", { ...GOOD, devices: undefined } as never],
  ["another word for a number", { ...GOOD, seccompMode: "two" } as never],
  ["another word for a limit", answersOf(GOOD, { "</sys/fs/cgroup/pids.max": "many\n" })],
  ["nothing of its mounts", answersOf(GOOD, { "</proc/self/mountinfo": undefined })],
  ["a mount of other fields", answersOf(GOOD, { "</proc/self/mountinfo": "1 2 3\n" })],
  ["too many", { ...GOOD, routes: Array.from({ length: 300 }, (_, n) => `eth${n} 00000000`) }],
])("a witness that says %s is not believed", async (_name, said) => {
  await expect(attest(options(said))).rejects.toEqual(refusal("does not attest"));
});

test("kernel paths count as they are mounted: the last mount on a target is the one that is seen", async () => {
  const there = { "?/proc/sys": "", "?/proc/kcore": "", "?/sys": "", "?/sys/firmware": "" };
  expect(await attest(options(answersOf(GOOD, there)))).toEqual(GOOD);
  const over = { ...GOOD, mounts: [...GOOD.mounts, mount("/proc/sys", "proc", { root: "/sys" })] };
  await expect(attest(options(answersOf(over, there)))).rejects.toEqual(refusal("can be written: /proc/sys"));
});

test("names are read as the kernel writes them", async () => {
  const odd = mount("/srv/a b\\c\td\ne", "ext4", { root: VOLUME });
  const facts = { ...GOOD, mounts: [...GOOD.mounts, odd] };
  const attested = await attest(options(facts));
  expect(attested.mounts.at(-1)?.target).toBe("/srv/a b\\c\td\ne");
  const devices = [...GOOD.devices, "/dev/pts/1\n"];
  await expect(attest(options({ ...GOOD, devices }))).rejects.toEqual(refusal("devices can be seen: /dev/pts/1\n"));
  const route = { "</proc/self/net/ipv6_route": "fe80 40 0 0 0 0 0 0 0 eth0\n" };
  await expect(attest(options(answersOf(GOOD, route)))).rejects.toEqual(refusal("eth0 fe80"));
});

test("a witness that fails is not believed, and its words are made printable", async () => {
  const container = witness(GOOD, { by: "signal", exitCode: 137, signal: "SIGKILL" });
  await expect(attest(options(GOOD, { container }))).rejects.toEqual(refusal("(signal): oh \ufffd[31mno"));
});

test("hostile text in a fact reaches neither the record nor the message raw", async () => {
  const kernelRelease = "6.1\u001b[2J";
  const { machine } = options(GOOD);
  const attestation = attest(
    options({ ...GOOD, kernelRelease }, { machine: { ...machine, guest: { ...machine.guest, kernelRelease } } }),
  );
  await expect(attestation).rejects.toEqual(refusal("6.1\ufffd[2J"));
});
