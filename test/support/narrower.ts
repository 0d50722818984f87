import ipaddr from "ipaddr.js";
import { isBound } from "../../src/egress/secret-binding.ts";
import { rulesOf } from "../../src/mounts/rules.ts";
import type { Mount } from "../../src/policy/mount.ts";
import { ISOLATION_LEVELS, type Profile } from "../../src/policy/profile.ts";
import type { Secret } from "../../src/policy/secret.ts";

/**
 * Keys in which one profile lets more through than another, asked by what the consumers make of them: requests, addresses, files. It shares
 * no code with the merger.
 */
export function widerKeys(inner: Profile, outer: Profile, stated: ReadonlySet<string>): string[] {
  return Object.entries(NARROWER).flatMap(([path, isNarrower]) =>
    stated.has(path) && !isNarrower(inner, outer) ? [path] : [],
  );
}

type Check = (inner: Profile, outer: Profile) => boolean;
const number =
  (of: (profile: Profile) => number): Check =>
  (a, b) =>
    of(a) <= of(b);
const denies =
  (of: (profile: Profile) => string | undefined): Check =>
  (a, b) =>
    of(b) !== "deny" || of(a) === "deny";

const NARROWER: Readonly<Record<string, Check>> = {
  "isolation.floor": (a, b) =>
    ISOLATION_LEVELS.indexOf(a.isolation.floor) >= ISOLATION_LEVELS.indexOf(b.isolation.floor),
  "resources.memoryMiB": number((it) => it.resources.memoryMiB),
  "resources.diskMiB": number((it) => it.resources.diskMiB),
  "timeouts.execMs": number((it) => it.timeouts.execMs),
  "timeouts.maxExecMs": number((it) => it.timeouts.maxExecMs),
  "timeouts.yieldMs": number((it) => it.timeouts.yieldMs),
  "timeouts.idleMs": number((it) => it.timeouts.idleMs),
  "timeouts.hibernateMs": number((it) => it.timeouts.hibernateMs),
  "output.maxBytes": number((it) => it.output.maxBytes),
  "output.retainBytes": number((it) => it.output.retainBytes),
  "files.maxReadBytes": number((it) => it.files.maxReadBytes),
  "files.maxTransferBytes": number((it) => it.files.maxTransferBytes),
  "limits.sessions": number((it) => it.limits.sessions),
  "limits.processes": number((it) => it.limits.processes),
  "snapshots.count": number((it) => it.snapshots.count),
  "snapshots.totalMiB": number((it) => it.snapshots.totalMiB),
  "budgets.principal.callsPerHour": number((it) => it.budgets?.principal.callsPerHour ?? Number.POSITIVE_INFINITY),
  "budgets.principal.sessions": number((it) => it.budgets?.principal.sessions ?? Number.POSITIVE_INFINITY),
  "budgets.session.egressMiBPerDay": number((it) => it.budgets?.session.egressMiBPerDay ?? Number.POSITIVE_INFINITY),
  "logging.maxLagSeconds": number((it) => it.logging?.maxLagSeconds ?? Number.POSITIVE_INFINITY),
  "logging.maxLagRecords": number((it) => it.logging?.maxLagRecords ?? Number.POSITIVE_INFINITY),
  writableRoot: (a, b) => b.writableRoot || !a.writableRoot,
  mounts: (a, b) => a.mounts.every((it) => b.mounts.some((other) => isNarrowerMount(it, other))),
  secrets: (a, b) => boundTo(a.secrets).isSubsetOf(boundTo(b.secrets)),
  "egress.private": (a, b) => privateOf(a).isSubsetOf(privateOf(b)),
  "egress.onExfiltration": (a, b) => b.egress.onExfiltration === "refuse" || a.egress.onExfiltration === "end-session",
  "packages.vulnerable": denies((it) => it.packages?.vulnerable),
  "packages.unverified": denies((it) => it.packages?.unverified),
  "packages.buildsFromSource": denies((it) => it.packages?.buildsFromSource),
  "packages.maximumAdvisoryAgeHours": number((it) => it.packages?.maximumAdvisoryAgeHours ?? Number.POSITIVE_INFINITY),
  "packages.deny": (a, b) =>
    new Set(b.packages?.deny.map((it) => it.text)).isSubsetOf(new Set(a.packages?.deny.map((it) => it.text))),
  "packages.minimumAgeHours": (a, b) => (["npm", "apt", "pip"] as const).every((it) => ageOf(a, it) >= ageOf(b, it)),
  "packages.installScripts": (a, b) => scriptsOf(a).isSubsetOf(scriptsOf(b)),
  "packages.licenses": (a, b) => licensesOf(a).isSubsetOf(licensesOf(b)),
  "packages.pin": (a, b) =>
    [...(b.packages?.pin ?? [])].every(([purl, ranges]) =>
      ranges.every((it) => a.packages?.pin.get(purl)?.includes(it)),
    ),
};

/** Keys that this file knows how to compare. */
export const COMPARED: readonly string[] = Object.keys(NARROWER);

function isNarrowerMount(inner: Mount, outer: Mount): boolean {
  if (inner.name !== outer.name || (inner.mode === "rw" && outer.mode === "ro")) return false;
  if (inner.host !== outer.host && !inner.host.startsWith(`${outer.host}/`)) return false;
  const deeper = inner.host
    .slice(outer.host.length)
    .split("/")
    .filter((it) => it !== "");
  const mustBeWithin = deeper.length === 0 || inner.within?.includes(outer.host) === true;
  // Patterns are relative to the mount: they are compared literally, where the folders differ.
  const passes = (mount: Mount, names: readonly string[]) => {
    const rules = rulesOf(mount);
    return rules.includes(names, false) && rules.refusal(names, false, "import") === undefined;
  };
  return mustBeWithin && FILES.every((names) => !passes(inner, names) || passes(outer, names));
}

const FILES = ["a", "b", "c", "src/a", "src/c.md", "x.md", "x/src/y", ".env", "src/.env", ".npmrc", "b/.npmrc"].map(
  (it) => it.split("/"),
);

/** Requests with which a secret would go. */
export function boundTo(secrets: readonly Secret[]): Set<string> {
  const found = new Set<string>();
  for (const host of ["api.example.org", "example.org", "b.example.org", "c.b.example.org", "x.example.com"]) {
    for (const port of [443, 8443, 80]) {
      for (const method of ["GET", "POST", "PUT"]) {
        for (const path of ["/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/c"]) {
          for (const secret of secrets) {
            if (isBound(secret, { host, port }, { method, path, headers: [] })) {
              found.add([secret.name, host, port, method, path].join(" "));
            }
          }
        }
      }
    }
  }
  return found;
}

/** Names and addresses that may lie in the private network. */
export function privateOf({ egress }: Profile): Set<string> {
  const samples = [
    "db.acme.test",
    "a.acme.test",
    "10.0.0.1",
    "10.1.0.1",
    "10.1.2.3",
    "192.168.1.1",
    "fd00:1::1",
    "fd00:1:2::1",
    "fd00:2::1",
  ];
  const holds = (sample: string) =>
    egress.private.some(({ pattern }) => {
      if (pattern.kind === "exact") return pattern.host === sample;
      if (pattern.kind !== "range" || !ipaddr.isValid(sample)) return false;
      const [address, range] = [ipaddr.parse(sample), ipaddr.parseCIDR(pattern.cidr)];
      return address.kind() === range[0].kind() && address.match(range);
    });
  return new Set(samples.filter(holds));
}

function ageOf({ packages }: Profile, ecosystem: "npm" | "apt" | "pip"): number {
  return packages?.minimumAgeHours.own.get(ecosystem) ?? packages?.minimumAgeHours.usual ?? 0;
}

function scriptsOf({ packages }: Profile): Set<string> {
  const scripts = packages?.installScripts ?? "deny";
  return new Set(scripts === "allow" ? ["a", "b", "c", "any other"] : scripts === "deny" ? [] : scripts);
}

function licensesOf({ packages }: Profile): Set<string> {
  return new Set((packages?.licenses ?? ["MIT", "ISC", "Apache-2.0", "any other"]).filter((it) => it !== "NONE"));
}
