import type { Json } from "../../audit/record.ts";
import type { Check } from "../check.ts";
import { eventOf, factOf, listOf, numberOf, textOf, textsOf } from "../facts.ts";

/** What is wrong with a sandbox by what it attested: `undefined` when nothing is, "unknown" when the record does not say. */
type Wrong = (attestation: Json) => string | undefined;
const UNKNOWN = "unknown";

/** How each container was confined, as the kernel told a program inside it when the session was opened or woken. */
function confinement(id: string, looksFor: string, wrong: Wrong): Check {
  return {
    id: `container-${id}`,
    of: "records",
    looksFor,
    start: (tally) => (record) => {
      const opened = eventOf(record, "session-opened", "session-woken");
      if (!opened) return;
      const attestation = factOf(opened.facts, "attestation");
      // Without it these are no facts of a sandbox, and what is absent from them says nothing.
      const problem = textOf(attestation, "bootId") === undefined ? UNKNOWN : wrong(attestation ?? null);
      const sessionId = opened.sessionId ?? "a session";
      if (problem === UNKNOWN) tally.concerns("containers of which the record does not say");
      else if (problem !== undefined) tally.contradicts("containers that are not", `${sessionId}: ${problem}`);
      else tally.finds("containers that attested it", `${sessionId}: attested`);
    },
  };
}

const CAPABILITY_SETS = ["inheritable", "permitted", "effective", "bounding", "ambient"] as const;
/** File systems by which a host shares folders with a machine. */
const SHARED = /^(9p|virtiofs|nfs\d?|cifs|smb\d?|vboxsf|vmhgfs|prl_fs|ceph|fuse(\..*)?)$/;
const ENGINE_SOCKET = /(^|\/)(docker|containerd|crio|podman)\.sock$/;
const HARMLESS_DEVICE = /^\/dev\/(console|full|null|ptmx|random|tty|urandom|zero|pts\/(ptmx|\d+))$/;

export const CONTAINER_CHECKS: readonly Check[] = [
  confinement("user", "Programs in containers ran as a user and groups other than root.", (it) => {
    const ids = ["uids", "gids", "groups"].map((name) => listOf(it, name));
    if (ids.some((list) => list === undefined) || ids[0]?.length === 0) return UNKNOWN;
    return ids.flat().includes(0) ? "root is among its users or groups" : undefined;
  }),
  confinement("capabilities", "Programs in containers had no kernel capability in any set.", (it) => {
    const masks = CAPABILITY_SETS.map((name) => textOf(factOf(it, "capabilities"), name));
    if (masks.some((mask) => mask === undefined)) return UNKNOWN;
    return masks.every((mask) => /^0+$/.test(mask ?? "")) ? undefined : `capabilities are ${masks.join(" ")}`;
  }),
  confinement("no-new-privileges", "Programs in containers could gain no privileges.", (it) =>
    toldBy(factOf(it, "noNewPrivs"), true, "no-new-privileges is off"),
  ),
  confinement("seccomp", "A seccomp filter was in force in containers.", (it) =>
    toldBy(factOf(it, "seccompMode"), 2, "there is no seccomp filter"),
  ),
  confinement("read-only-root", "The containers' root file system could not be written.", (it) => {
    // The last mount on a target is the one that is seen.
    const root = listOf(it, "mounts")?.findLast((mount) => textOf(mount, "target") === "/");
    const options = root === undefined ? undefined : textsOf(root, "options");
    if (options === undefined) return UNKNOWN;
    return options.includes("ro") ? undefined : "the root file system could be written; a profile may permit that";
  }),
  confinement("pids-limit", "The number of processes in containers was limited.", (it) =>
    numberOf(it, "pidsMax") === undefined ? "there is no limit of processes" : undefined,
  ),
  confinement("memory-limit", "The memory of containers was limited.", (it) =>
    numberOf(it, "memoryMaxBytes") === undefined ? "there is no memory limit" : undefined,
  ),
  confinement("mounts", "No folder of the host was shared with containers.", (it) => {
    const mounts = listOf(it, "mounts");
    if (mounts === undefined || mounts.length === 0) return UNKNOWN;
    const shared = mounts.find((mount) => SHARED.test(textOf(mount, "fstype") ?? ""));
    if (shared === undefined) return undefined;
    return `${textOf(shared, "fstype")} at ${textOf(shared, "target") ?? "an unknown place"}`;
  }),
  confinement("engine-socket", "No socket of a container engine could be seen in containers.", (it) => {
    const sockets = textsOf(it, "sockets");
    const targets = listOf(it, "mounts")?.map((mount) => textOf(mount, "target") ?? "");
    if (sockets === undefined || targets === undefined) return UNKNOWN;
    const seen = sockets[0] ?? targets.find((target) => ENGINE_SOCKET.test(target));
    return seen && `${seen} could be seen`;
  }),
  confinement("devices", "No device of the host could be seen in containers.", (it) => {
    const devices = textsOf(it, "devices");
    if (devices === undefined) return UNKNOWN;
    const seen = devices.find((device) => !HARMLESS_DEVICE.test(device));
    return seen && `${seen} could be seen`;
  }),
  confinement("network", "Containers had no network interface but their own loopback, and no route.", (it) => {
    const interfaces = textsOf(it, "interfaces");
    const routes = textsOf(it, "routes");
    if (interfaces === undefined || routes === undefined) return UNKNOWN;
    const seen = interfaces.find((name) => name !== "lo") ?? routes[0];
    return seen && `${seen} could be seen`;
  }),
  confinement("kernel-paths", "Kernel paths that tell of the machine or change it were hidden or read-only.", (it) => {
    const lists = [textsOf(it, "unmaskedPaths"), textsOf(it, "writablePaths")];
    if (lists.some((list) => list === undefined)) return UNKNOWN;
    const [seen] = lists.flatMap((list) => list ?? []);
    return seen && `${seen} was neither`;
  }),
];

function toldBy(fact: Json | undefined, good: Json, otherwise: string): string | undefined {
  if (fact === undefined) return UNKNOWN;
  return fact === good ? undefined : otherwise;
}
