import type { hardenedOptions } from "./hardening.ts";
import type { ContainerFacts, EngineFacts, EngineWord } from "./inspection.ts";

type Options = ReturnType<typeof hardenedOptions>;
type Check = readonly [holds: boolean, failure: string];

/** Kernel paths that the engine hides, and makes read-only, in every container that is not told otherwise. */
const HIDDEN = ["/proc/kcore", "/proc/keys", "/sys/firmware"];
const PROTECTED = ["/proc/sys", "/proc/sysrq-trigger"];
const ENGINE_SOCKET = /(^|\/)(docker|containerd|crio|podman)\.sock$/;

/**
 * Every way in which a container is less confined than it was asked to be, in words; none when it is as it was made. A pure function.
 * Swap is not compared: the machine has none, and an engine whose kernel counts none says that there is no limit; nor is the environment, much
 * of which is the image's.
 */
export function weakerThan(options: Options, { container, engine }: EngineWord): string[] {
  return [
    ...privileges(options, container),
    ...reach(options, container),
    ...namespaces(options, container),
    ...limits(options, container),
    ...engineWeakness(engine),
    ...runtime(container, engine),
  ].flatMap(([holds, failure]) => (holds ? [] : [failure]));
}

function privileges({ HostConfig: host, ...asked }: Options, it: ContainerFacts): Check[] {
  const missing = (of: readonly string[], wanted: readonly string[]) => wanted.filter((path) => !of.includes(path));
  const seen = missing(it.maskedPaths, HIDDEN);
  const writable = missing(it.readOnlyPaths, PROTECTED);
  return [
    [it.isRunning, `the container does not run: it is ${it.status}`],
    [it.image === asked.Image, `its image is ${it.image}, not ${asked.Image}`],
    [it.user === asked.User, `its user is ${shown(it.user)}, not ${asked.User}`],
    [it.groupAdd.length === 0, `it has groups besides: ${it.groupAdd.join(" ")}`],
    [same(it.entrypoint, asked.Entrypoint), `its first program is ${it.entrypoint.join(" ")}`],
    [same(it.command, asked.Cmd), `its first program is given ${it.command.join(" ")}`],
    [same(it.healthcheck, asked.Healthcheck.Test), `it has a health check: ${it.healthcheck.join(" ")}`],
    [!it.privileged, "it is privileged"],
    [it.capAdd.length === 0, `it has capabilities: ${it.capAdd.join(" ")}`],
    [same(it.capDrop, host.CapDrop), `it was not to have any capability, and lost ${shown(it.capDrop.join(" "))} only`],
    [same(it.securityOpt, host.SecurityOpt), `its security options are ${shown(it.securityOpt.join(" "))}`],
    [it.readOnlyRoot || !host.ReadonlyRootfs, "its root file system can be written"],
    [seen.length === 0, `kernel paths are not hidden: ${seen.join(" ")}`],
    [writable.length === 0, `kernel paths can be written: ${writable.join(" ")}`],
    [it.sysctls.length === 0, `it has kernel settings of its own: ${it.sysctls.join(" ")}`],
    [it.execs === 0, `programs were started through the engine: ${it.execs}`],
  ];
}

function reach({ HostConfig: host }: Options, it: ContainerFacts): Check[] {
  const bound = new Map<string, string>(
    host.Mounts.flatMap((mount) => (mount.Type === "bind" ? [[mount.Target, mount.Source] as const] : [])),
  );
  const volumes: readonly string[] = host.Mounts.flatMap((mount) => (mount.Type === "volume" ? [mount.Target] : []));
  const targets = it.mounts.map((mount) => mount.target);
  const lacking = host.Mounts.filter((mount) => !targets.includes(mount.Target));
  const strange = it.mounts.filter(({ type, source, target, writable }, at) => {
    if (targets.indexOf(target) < at) return true;
    // An engine makes a volume, too, wherever the image asks for one.
    if (type === "volume") return !volumes.includes(target) && !it.imageVolumes.includes(target);
    return type !== "bind" || writable || bound.get(target) !== source;
  });
  const shared = it.mounts.filter(({ propagation }) => !["", "rprivate", "private"].includes(propagation));
  return [
    ...strange.map((mount): Check => [false, `${mount.type} ${shown(mount.source)} is mounted at ${mount.target}`]),
    ...lacking.map((mount): Check => [false, `nothing of ours is mounted at ${mount.Target}`]),
    ...shared.map((mount): Check => [false, `mounts are passed on (${mount.propagation}) at ${mount.target}`]),
    [!it.mounts.some(({ target }) => ENGINE_SOCKET.test(target)), "an engine's socket is mounted"],
    [it.tmpfs.length === 0, `there are file systems in memory at ${it.tmpfs.join(" ")}`],
    [it.binds.length === 0, `there are binds: ${it.binds.join(" ")}`],
    [it.volumesFrom.length === 0, `it has volumes of ${it.volumesFrom.join(" ")}`],
    [it.devices.length === 0, `it has devices: ${it.devices.join(" ")}`],
    [it.deviceRules.length === 0, `it may use devices: ${it.deviceRules.join(" ")}`],
    [it.deviceRequests === 0, "it asks for devices"],
    [it.networkMode === host.NetworkMode, `its network is ${shown(it.networkMode)}`],
    [it.networks.every((name) => name === "none"), `it is in the networks ${it.networks.join(" ")}`],
    [it.ports.length === 0 && !it.publishesAllPorts, `it publishes ports: ${it.ports.join(" ")}`],
  ];
}

function namespaces({ HostConfig: host }: Options, it: ContainerFacts): Check[] {
  return [
    [it.pidMode === host.PidMode, `its process namespace is ${shown(it.pidMode)}`],
    [it.ipcMode === host.IpcMode, `its IPC namespace is ${shown(it.ipcMode)}`],
    [it.utsMode === host.UTSMode, `its UTS namespace is ${shown(it.utsMode)}`],
    [it.usernsMode === host.UsernsMode, `its user namespace is ${shown(it.usernsMode)}`],
    [it.cgroupnsMode === host.CgroupnsMode, `its cgroup namespace is ${shown(it.cgroupnsMode)}`],
    [it.cgroupParent === "", `its cgroup lies below ${it.cgroupParent}`],
  ];
}

function limits({ HostConfig: host }: Options, it: ContainerFacts): Check[] {
  const within = (limit: number, most: number) => limit > 0 && limit <= most;
  const ulimits = host.Ulimits.map(({ Name, Soft, Hard }) => `${Name} ${Soft}:${Hard}`);
  return [
    [within(it.pidsLimit, host.PidsLimit), `its limit of processes is ${it.pidsLimit}, not ${host.PidsLimit}`],
    [within(it.memoryBytes, host.Memory), `its memory limit is ${it.memoryBytes}, not ${host.Memory}`],
    [within(it.nanoCpus, host.NanoCpus), `its CPU limit is ${it.nanoCpus}, not ${host.NanoCpus}`],
    [!it.oomKillDisable, "it is not ended when it runs out of memory"],
    [it.oomScoreAdj === host.OomScoreAdj, `it is spared when memory runs out: ${it.oomScoreAdj}`],
    [same(it.ulimits, ulimits), `its ulimits are ${shown(it.ulimits.join(", "))}`],
    [it.restartPolicy === host.RestartPolicy.Name, `its restart policy is ${shown(it.restartPolicy)}`],
  ];
}

function engineWeakness({ containers, securityOptions, swarm }: EngineFacts): Check[] {
  const seccomp = securityOptions.find((it) => it.startsWith("name=seccomp"));
  return [
    [containers === 1, `the machine's engine has ${containers} containers`],
    [seccomp === "name=seccomp,profile=builtin", `the engine's seccomp filter is ${shown(seccomp ?? "")}`],
    [swarm === "inactive" || swarm === "", `the engine is in a swarm: ${swarm}`],
  ];
}

/** None is asked for, so that it has the engine's own; not every engine says which that is. */
function runtime(it: ContainerFacts, { defaultRuntime }: EngineFacts): Check[] {
  const isDefault = defaultRuntime === "" || it.runtime === defaultRuntime;
  return [[isDefault, `its runtime is ${shown(it.runtime)}, not ${defaultRuntime}`]];
}

/** In whatever order. */
function same(these: readonly string[], those: readonly string[]): boolean {
  const [a, b] = [these.toSorted(), those.toSorted()];
  return a.length === b.length && a.every((it, at) => it === b[at]);
}

function shown(text: string): string {
  return text === "" ? "none" : `\`${text}\``;
}
