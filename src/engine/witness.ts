/**
 * How a sandbox is confined, as the kernel tells a program inside it: what is asked (`guest/inside/inside.c` has the language and
 * gathers the answers), and what the answers say. Nothing is judged here; `attest-rules.ts` does.
 */

/** The machine's own, mounted read-only over whatever the image has there. */
const PROGRAM = "/.glovebox/inside";

/** One-line files, by the fact that each is. */
const LINES = {
  bootId: "/proc/sys/kernel/random/boot_id",
  kernelRelease: "/proc/sys/kernel/osrelease",
  hostname: "/proc/sys/kernel/hostname",
} as const;

const FILES = {
  status: "/proc/self/status",
  mountinfo: "/proc/self/mountinfo",
  devices: "/proc/self/net/dev",
  ipv4Routes: "/proc/self/net/route",
} as const;

/** Absent from a kernel without IPv6. */
const IPV6_ROUTES = "/proc/self/net/ipv6_route";

/** Of cgroup v2, whose root is the container's own: its cgroup namespace is private. Absent where there is no limit. */
const LIMITS = { pidsMax: "/sys/fs/cgroup/pids.max", memoryMaxBytes: "/sys/fs/cgroup/memory.max" } as const;

/** Kernel paths that tell of the machine, which the container engine hides below a mount. */
const HIDDEN = [
  "/proc/acpi",
  "/proc/asound",
  "/proc/kcore",
  "/proc/keys",
  "/proc/latency_stats",
  "/proc/sched_debug",
  "/proc/scsi",
  "/proc/timer_list",
  "/proc/timer_stats",
  "/sys/devices/virtual/powercap",
  "/sys/firmware",
] as const;

/** Kernel paths that change it, which the container engine makes read-only. */
const PROTECTED = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", "/sys"] as const;

/** Where container engines listen; every socket below /run is listed besides. */
const ENGINE_SOCKETS = [
  "/docker.sock",
  "/var/run/docker.sock",
  "/var/run/containerd/containerd.sock",
  "/var/run/crio/crio.sock",
  "/var/run/podman/podman.sock",
  "/host/run/docker.sock",
  "/host/var/run/docker.sock",
] as const;
const SOCKETS_BELOW = "/run";
const DEVICES_BELOW = "/dev";

export const QUESTIONS: readonly string[] = [
  ...[...Object.values(LINES), ...Object.values(FILES), IPV6_ROUTES, ...Object.values(LIMITS)].map((it) => `<${it}`),
  ...[...HIDDEN, ...PROTECTED].map((it) => `?${it}`),
  ...ENGINE_SOCKETS.map((it) => `@${it}`),
  `s${SOCKETS_BELOW}`,
  `d${DEVICES_BELOW}`,
];

export const WITNESS: readonly [string, ...string[]] = [PROGRAM, ...QUESTIONS];

/** What the answers say; its shape and limits are still to be checked. @throws Error when they can't be read */
export function factsOf(output: Buffer): object {
  const { text, optional, isThere, paths } = read(output);
  const mounts = mountsOf(text(`<${FILES.mountinfo}`));
  const limit = (path: string) => limitOf(optional(`<${path}`));
  const facts = {
    ...Object.fromEntries(Object.entries(LINES).map(([fact, path]) => [fact, text(`<${path}`).trim()])),
    ...identityOf(text(`<${FILES.status}`)),
    mounts,
    unmaskedPaths: HIDDEN.filter((it) => isThere(`?${it}`) && !mounts.some(({ target }) => target === it)),
    writablePaths: PROTECTED.filter((it) => isThere(`?${it}`) && !isReadOnlyAt(mounts, it)),
    sockets: [...ENGINE_SOCKETS.filter((it) => isThere(`@${it}`)), ...paths(`s${SOCKETS_BELOW}`)],
    interfaces: interfacesOf(text(`<${FILES.devices}`)),
    routes: [...ipv4RoutesOf(text(`<${FILES.ipv4Routes}`)), ...ipv6RoutesOf(optional(`<${IPV6_ROUTES}`) ?? "")],
    devices: paths(`d${DEVICES_BELOW}`),
    pidsMax: limit(LIMITS.pidsMax),
    memoryMaxBytes: limit(LIMITS.memoryMaxBytes),
  };
  return Object.fromEntries(Object.entries(facts).filter(([, value]) => value !== undefined));
}

/** The answers, by their questions. */
function read(output: Buffer) {
  const answers = new Map<string, Buffer | undefined>();
  let at = 0;
  for (const question of QUESTIONS) {
    const end = output.indexOf("\n", at);
    if (end < 0) throw new Error(`${question} has no answer`);
    const head = output.subarray(at, end).toString("latin1");
    at = end + 1;
    if (head === "-") answers.set(question, undefined);
    else {
      if (!/^\d{1,6}$/.test(head) || at + Number(head) > output.length)
        throw new Error(`${question} has half an answer`);
      answers.set(question, output.subarray(at, at + Number(head)));
      at += Number(head);
    }
  }
  if (at !== output.length) throw new Error("more was answered than asked");
  const optional = (question: string) => answers.get(question)?.toString();
  const text = (question: string) => {
    const found = optional(question);
    if (found === undefined) throw new Error(`${question.slice(1)} is missing`);
    return found;
  };
  return {
    optional,
    text,
    isThere: (question: string) => answers.get(question) !== undefined,
    paths: (question: string) => text(question).split("\0").slice(0, -1),
  };
}

const CAPABILITY_SETS = {
  inheritable: "CapInh",
  permitted: "CapPrm",
  effective: "CapEff",
  bounding: "CapBnd",
  ambient: "CapAmb",
} as const;

/** Of proc_pid_status(5). Who the witness is every program of the agent is: all are started alike. */
function identityOf(status: string) {
  const rows = new Map(
    status.split("\n").map((row) => [row.slice(0, row.indexOf(":")), row.slice(row.indexOf(":") + 1).trim()]),
  );
  const row = (name: string) => {
    const found = rows.get(name);
    if (found === undefined) throw new Error(`the status has no ${name}`);
    return found;
  };
  return {
    uids: words(row("Uid")).map(Number),
    gids: words(row("Gid")).map(Number),
    groups: words(row("Groups")).map(Number),
    capabilities: Object.fromEntries(Object.entries(CAPABILITY_SETS).map(([set, name]) => [set, row(name)])),
    noNewPrivs: row("NoNewPrivs") === "1",
    seccompMode: Number(row("Seccomp")),
  };
}

interface Mount {
  readonly target: string;
  /** The directory of the mounted file system that is seen at `target`. */
  readonly root: string;
  readonly fstype: string;
  readonly options: readonly string[];
}

/** Of proc_pid_mountinfo(5). */
function mountsOf(mountinfo: string): Mount[] {
  return lines(mountinfo).map((row) => {
    const [before = "", after = ""] = row.split(" - ", 2);
    const [, , , root, target, options] = before.split(" ");
    const [fstype] = words(after);
    if (!root || !target || !options || !fstype) throw new Error("a mount can't be read");
    return { target: unescaped(target), root: unescaped(root), fstype, options: options.split(",") };
  });
}

/** The kernel writes blank, tab, newline and backslash in octal. */
function unescaped(path: string): string {
  return path.replaceAll(/\\(040|011|012|134)/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));
}

/** The last mount on a target is the one that is seen. */
function isReadOnlyAt(mounts: readonly Mount[], path: string): boolean {
  return mounts.findLast((it) => it.target === path)?.options.includes("ro") ?? false;
}

/** Two lines of headings, then `name: counters`. */
function interfacesOf(devices: string): string[] {
  return lines(devices)
    .filter((it) => it.includes(":"))
    .map((it) => it.slice(0, it.indexOf(":")).trim());
}

/** `interface destination …` in hexadecimal. Routes through lo lead nowhere. */
function ipv4RoutesOf(text: string): string[] {
  return lines(text)
    .map(words)
    .filter(([name]) => name !== "Iface" && name !== "lo")
    .map(([name, destination]) => `${name} ${destination}`);
}

/** `destination … interface`, ten fields. */
function ipv6RoutesOf(text: string): string[] {
  return lines(text)
    .map(words)
    .filter((fields) => fields[9] !== "lo")
    .map((fields) => `${fields[9]} ${fields[0]}`);
}

/** "max": none. */
function limitOf(text: string | undefined): number | undefined {
  return text === undefined || text.trim() === "max" ? undefined : Number(text);
}

function lines(text: string): string[] {
  return text.split("\n").filter((it) => it.trim() !== "");
}

function words(text: string): string[] {
  return text.split(/\s+/).filter((it) => it !== "");
}
