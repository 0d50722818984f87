import type { Check } from "../check.ts";
import { factOf, listOf, numberOf, textOf, textsOf } from "../facts.ts";
import { ABSENT, confinement, ofContainer, toldBy, UNKNOWN, type Wrong } from "./confinement.ts";

const NAMESPACES = ["pidMode", "ipcMode", "utsMode", "usernsMode", "cgroupnsMode"] as const;
const PASSED_ON = /^r?(shared|slave)$/;

/** What only an inspection from outside can tell: how the machine's engine was told to make the container. */
export const INSPECTED_CHECKS: readonly Check[] = [
  inspected("container-privileged", "Containers were not privileged.", (it) =>
    toldBy(factOf(it, "privileged"), false, "it is privileged"),
  ),
  inspected("container-apparmor", "Containers had an AppArmor profile.", (it) =>
    labelled(factOf(it, "appArmorProfile"), "unconfined"),
  ),
  inspected("container-selinux", "Containers had an SELinux label.", (it) => labelled(factOf(it, "selinuxLabel"), "")),
  inspected("container-cpu-limit", "The processor time of containers was limited.", (it) => {
    const [time, shares] = [numberOf(it, "nanoCpus"), numberOf(it, "cpuShares")];
    if (time === undefined || shares === undefined) return UNKNOWN;
    return time > 0 || shares > 0 ? undefined : "there is no limit of its processor time";
  }),
  inspected("container-namespaces", "Containers shared no namespace with their machine or another container.", (it) => {
    const modes = NAMESPACES.map((name) => factOf(it, name));
    if (modes.some((mode) => typeof mode !== "string")) return UNKNOWN;
    const at = modes.findIndex((mode) => mode === "host" || String(mode).startsWith("container:"));
    return at < 0 ? undefined : `${NAMESPACES[at]} is ${modes[at]}`;
  }),
  inspected("container-cgroup", "Containers were in the cgroup that their engine makes for each.", (it) => {
    const parent = factOf(it, "cgroupParent");
    return toldBy(parent, "", `its cgroup lies below ${typeof parent === "string" ? parent : "another"}`);
  }),
  inspected("container-ports", "Containers published no port.", (it) => {
    const ports = textsOf(it, "ports");
    if (ports === undefined) return UNKNOWN;
    if (ports[0] !== undefined) return `it publishes ${ports.join(" ")}`;
    return toldBy(factOf(it, "publishesAllPorts"), false, "it publishes all ports");
  }),
  inspected("container-restart", "Containers that end stay ended.", (it) => {
    const policy = textOf(it, "restartPolicy");
    return toldBy(policy, "no", `its restart policy is ${policy}`);
  }),
  inspected("container-ulimits", "Limits of open files and core dumps of containers were set.", (it) => {
    const ulimits = textsOf(it, "ulimits");
    if (ulimits === undefined) return UNKNOWN;
    return ulimits.length > 0 ? undefined : "none is set";
  }),
  inspected("container-propagation", "Mounts of containers were not passed on.", (it) => {
    const mounts = listOf(it, "mounts");
    if (mounts === undefined) return UNKNOWN;
    const shared = mounts.find((mount) => PASSED_ON.test(textOf(mount, "propagation") ?? ""));
    if (shared === undefined) return undefined;
    return `that at ${textOf(shared, "target") ?? "a place"} is ${textOf(shared, "propagation")}`;
  }),
  inspected("container-execs", "No program was started in containers by way of their engine.", (it) => {
    const execs = numberOf(it, "execs");
    return toldBy(execs, 0, `${execs} were`);
  }),
  confinement("engine-swarm", "The engines that ran containers were in no swarm.", {
    inspected: (it) => {
      const swarm = factOf(factOf(it, "engine"), "swarm");
      return swarm === "" ? undefined : toldBy(swarm, "inactive", "it is in a swarm");
    },
  }),
];

function inspected(id: string, looksFor: string, wrong: Wrong): Check {
  return confinement(id, looksFor, { inspected: ofContainer(wrong) });
}

/** A label that nobody demanded: where there is none, the report says that there is no evidence. */
function labelled(label: ReturnType<typeof factOf>, none: string): string | undefined {
  if (typeof label !== "string") return UNKNOWN;
  return label === "" || label === none ? ABSENT : undefined;
}
