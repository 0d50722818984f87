import type { Check } from "../check.ts";
import { factOf, listOf, numberOf, textOf, textsOf } from "../facts.ts";
import { confinement, ofContainer, toldBy, UNKNOWN } from "./confinement.ts";

const CAPABILITY_SETS = ["inheritable", "permitted", "effective", "bounding", "ambient"] as const;
/** File systems by which a host shares folders with a machine. */
const SHARED = /^(9p|virtiofs|nfs\d?|cifs|smb\d?|vboxsf|vmhgfs|prl_fs|ceph|fuse(\..*)?)$/;
/** Volumes of ours. */
const WRITABLE: readonly string[] = ["/workspace", "/home/agent", "/tmp"];
const ENGINE_SOCKET = /(^|\/)(docker|containerd|crio|podman)\.sock$/;
const HARMLESS_DEVICE = /^\/dev\/(console|full|null|ptmx|random|tty|urandom|zero|pts\/(ptmx|\d+))$/;
/** What of the machine Glovebox shows to a container, to be read: its runner, its witness, certificates. */
const OURS = /^\/(usr\/libexec|run)\/glovebox\/[a-z.-]+$/;

/** What both a program inside and an inspection from outside can tell. */
export const CONTAINER_CHECKS: readonly Check[] = [
  confinement("container-user", "Programs in containers ran as a user and groups other than root.", {
    attested: (it) => {
      const ids = ["uids", "gids", "groups"].map((name) => listOf(it, name));
      if (ids.some((list) => list === undefined) || ids[0]?.length === 0) return UNKNOWN;
      return ids.flat().includes(0) ? "root is among its users or groups" : undefined;
    },
    inspected: ofContainer((it) => {
      const groups = textsOf(it, "groupAdd");
      if (factOf(it, "user") === undefined || groups === undefined) return UNKNOWN;
      const names = [...(textOf(it, "user") ?? "root").split(":"), ...groups];
      return names.some((name) => name === "0" || name === "root") ? `it is made for ${names.join(" ")}` : undefined;
    }),
  }),
  confinement("container-capabilities", "Programs in containers had no kernel capability in any set.", {
    attested: (it) => {
      const masks = CAPABILITY_SETS.map((name) => textOf(factOf(it, "capabilities"), name));
      if (masks.some((mask) => mask === undefined)) return UNKNOWN;
      return masks.every((mask) => /^0+$/.test(mask ?? "")) ? undefined : `capabilities are ${masks.join(" ")}`;
    },
    inspected: ofContainer((it) => {
      const [added, dropped] = [textsOf(it, "capAdd"), textsOf(it, "capDrop")];
      if (added === undefined || dropped === undefined) return UNKNOWN;
      if (added.length > 0) return `it was given ${added.join(" ")}`;
      return dropped.includes("ALL") ? undefined : "it was not deprived of all";
    }),
  }),
  confinement("container-no-new-privileges", "Programs in containers could gain no privileges.", {
    attested: (it) => toldBy(factOf(it, "noNewPrivs"), true, "no-new-privileges is off"),
    inspected: ofContainer((it) => {
      const options = textsOf(it, "securityOpt");
      if (options === undefined) return UNKNOWN;
      return options.some((option) => /^no-new-privileges([:=]true)?$/.test(option)) ? undefined : "it is not demanded";
    }),
  }),
  confinement("container-seccomp", "A seccomp filter was in force in containers.", {
    attested: (it) => toldBy(factOf(it, "seccompMode"), 2, "there is no seccomp filter"),
    inspected: (it) => {
      const own = textsOf(factOf(it, "container"), "securityOpt");
      const filter = textsOf(factOf(it, "engine"), "securityOptions");
      if (own === undefined || filter === undefined) return UNKNOWN;
      if (own.some((option) => /^seccomp[:=]unconfined$/.test(option))) return "its filter is switched off";
      const named = filter.find((option) => option.startsWith("name=seccomp"));
      return named === undefined || named.includes("unconfined") ? "its engine has no filter" : undefined;
    },
  }),
  confinement("container-read-only-root", "The containers' root file system could not be written.", {
    attested: (it) => {
      // The last mount on a target is the one that is seen.
      const root = listOf(it, "mounts")?.findLast((mount) => textOf(mount, "target") === "/");
      const options = root === undefined ? undefined : textsOf(root, "options");
      if (options === undefined) return UNKNOWN;
      return options.includes("ro") ? undefined : WRITABLE_ROOT;
    },
    inspected: ofContainer((it) => toldBy(factOf(it, "readOnlyRoot"), true, WRITABLE_ROOT)),
  }),
  confinement("container-pids-limit", "The number of processes in containers was limited.", {
    attested: (it) => (numberOf(it, "pidsMax") === undefined ? "there is no limit of processes" : undefined),
    inspected: ofContainer((it) => limited(numberOf(it, "pidsLimit"), "there is no limit of processes")),
  }),
  confinement("container-memory-limit", "The memory of containers was limited.", {
    attested: (it) => (numberOf(it, "memoryMaxBytes") === undefined ? "there is no memory limit" : undefined),
    inspected: ofContainer((it) => limited(numberOf(it, "memoryBytes"), "there is no memory limit")),
  }),
  confinement("container-mounts", "No folder of the host was shared with containers.", {
    attested: (it) => {
      const mounts = listOf(it, "mounts");
      if (mounts === undefined || mounts.length === 0) return UNKNOWN;
      const shared = mounts.find((mount) => SHARED.test(textOf(mount, "fstype") ?? ""));
      if (shared === undefined) return undefined;
      return `${textOf(shared, "fstype")} at ${textOf(shared, "target") ?? "an unknown place"}`;
    },
    inspected: ofContainer((it) => {
      const mounts = listOf(it, "mounts");
      if (mounts === undefined) return UNKNOWN;
      // Those that the image asks for are made of nothing, too.
      const volumes = [...WRITABLE, ...(textsOf(it, "imageVolumes") ?? [])];
      const strange = mounts.find((mount, at) => {
        const target = textOf(mount, "target");
        if (mounts.some((other, before) => before < at && textOf(other, "target") === target)) return true;
        if (textOf(mount, "type") === "volume") return !volumes.includes(target ?? "");
        return factOf(mount, "writable") !== false || !OURS.test(textOf(mount, "source") ?? "");
      });
      if (strange === undefined) return undefined;
      return `${textOf(strange, "source") ?? "something"} at ${textOf(strange, "target") ?? "a place"}`;
    }),
  }),
  confinement("container-engine-socket", "No socket of a container engine could be seen in containers.", {
    attested: (it) => {
      const sockets = textsOf(it, "sockets");
      const targets = listOf(it, "mounts")?.map((mount) => textOf(mount, "target") ?? "");
      if (sockets === undefined || targets === undefined) return UNKNOWN;
      const seen = sockets[0] ?? targets.find((target) => ENGINE_SOCKET.test(target));
      return seen && `${seen} could be seen`;
    },
    inspected: ofContainer((it) => {
      const places = listOf(it, "mounts")?.flatMap((mount) => [textOf(mount, "source"), textOf(mount, "target")]);
      if (places === undefined) return UNKNOWN;
      const seen = places.find((place) => ENGINE_SOCKET.test(place ?? ""));
      return seen && `${seen} is mounted`;
    }),
  }),
  confinement("container-devices", "No device of the host could be seen in containers.", {
    attested: (it) => {
      const devices = textsOf(it, "devices");
      if (devices === undefined) return UNKNOWN;
      const seen = devices.find((device) => !HARMLESS_DEVICE.test(device));
      return seen && `${seen} could be seen`;
    },
    inspected: ofContainer((it) => {
      const [devices, rules] = [textsOf(it, "devices"), textsOf(it, "deviceRules")];
      const requests = numberOf(it, "deviceRequests");
      if (devices === undefined || rules === undefined || requests === undefined) return UNKNOWN;
      const seen = devices[0] ?? rules[0];
      return seen === undefined && requests === 0 ? undefined : `it was given ${seen ?? "devices"}`;
    }),
  }),
  confinement("container-network", "Containers had no network interface but their own loopback, and no route.", {
    attested: (it) => {
      const interfaces = textsOf(it, "interfaces");
      const routes = textsOf(it, "routes");
      if (interfaces === undefined || routes === undefined) return UNKNOWN;
      const seen = interfaces.find((name) => name !== "lo") ?? routes[0];
      return seen && `${seen} could be seen`;
    },
    inspected: ofContainer((it) => {
      const networks = textsOf(it, "networks");
      if (networks === undefined) return UNKNOWN;
      const other = networks.find((name) => name !== "none");
      if (other !== undefined) return `it is in the network ${other}`;
      return toldBy(factOf(it, "networkMode"), "none", "it was given a network");
    }),
  }),
  confinement(
    "container-kernel-paths",
    "Kernel paths that tell of the machine or change it were hidden or read-only.",
    {
      attested: (it) => {
        const lists = [textsOf(it, "unmaskedPaths"), textsOf(it, "writablePaths")];
        if (lists.some((list) => list === undefined)) return UNKNOWN;
        const [seen] = lists.flatMap((list) => list ?? []);
        return seen && `${seen} was neither`;
      },
      inspected: ofContainer((it) => {
        const lists = [textsOf(it, "maskedPaths"), textsOf(it, "readOnlyPaths")];
        if (lists.some((list) => list === undefined)) return UNKNOWN;
        return lists.some((list) => list?.length === 0) ? "its engine leaves them as they are" : undefined;
      }),
    },
  ),
];

const WRITABLE_ROOT = "the root file system could be written; a profile may permit that";

function limited(limit: number | undefined, otherwise: string): string | undefined {
  if (limit === undefined) return UNKNOWN;
  return limit > 0 ? undefined : otherwise;
}
