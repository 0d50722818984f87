import type { EventBody, IntentBody, Json, RecordBody } from "../../src/audit/record.ts";
import { readEngineWord } from "../../src/container/inspection.ts";
import type { Attestation } from "../../src/engine/attest.ts";
import type { MachineFacts } from "../../src/engine/engine.ts";
import { intent, outcome } from "./audit-bodies.ts";
import { INFO, INSPECT } from "./engine-word.ts";

export const BUNDLE = intent("").bundle;
const NONE = "0000000000000000";

export const ATTESTATION: Attestation = {
  bootId: "11111111-2222-3333-4444-555555555555",
  kernelRelease: "6.1.0-56-cloud-amd64",
  hostname: "sandbox-1",
  uids: [1000, 1000, 1000, 1000],
  gids: [1000, 1000, 1000, 1000],
  groups: [1000],
  capabilities: { inheritable: NONE, permitted: NONE, effective: NONE, bounding: NONE, ambient: NONE },
  noNewPrivs: true,
  seccompMode: 2,
  mounts: [
    { target: "/", root: "/", fstype: "overlay", options: ["ro", "relatime"] },
    { target: "/proc", root: "/", fstype: "proc", options: ["rw"] },
    { target: "/workspace", root: `/docker/volumes/${"d".repeat(64)}/_data`, fstype: "ext4", options: ["rw"] },
  ],
  unmaskedPaths: [],
  writablePaths: [],
  sockets: [],
  interfaces: ["lo"],
  routes: [],
  devices: ["/dev/null", "/dev/pts/ptmx"],
  pidsMax: 256,
  memoryMaxBytes: 1_000_000_000,
};

const MACHINE: MachineFacts = {
  engine: "qemu",
  engineVersion: "10.0.2",
  level: "microvm",
  acceleration: "kvm",
  start: "template",
  pid: 4711,
};

const SIGHTING = {
  isAlive: true,
  uid: 2_000_000_017,
  noNewPrivs: true,
  seccompMode: 2,
  isCapable: false,
  ownNetwork: true,
  devices: ["virtio-blk-pci", "virtio-serial-pci", "virtserialport"],
};

/** An event as the gateway records it; of no session unless it says so. */
export function told(event: EventBody["event"], facts: object, of: Partial<EventBody> = {}): EventBody {
  return { kind: "event", event, facts: facts as Json, ...of };
}

/** What `session-opened` says, with other facts than good ones. */
export function opened(
  attestation: Partial<Record<keyof Attestation, unknown>> = {},
  machine: Partial<MachineFacts> = {},
  sessionId = "ses-1",
): EventBody {
  const facts = {
    machineId: "mch-1",
    image: `sha256:${"e".repeat(64)}`,
    pooled: false,
    machine: { ...MACHINE, ...machine },
    attestation: { ...ATTESTATION, ...attestation },
  };
  // What is undefined is left out, as the log does.
  return told("session-opened", JSON.parse(JSON.stringify(facts)), { sessionId });
}

/** What an inspection says, with other facts than good ones. */
export function inspected(
  container: object = {},
  {
    engine = {},
    machine = {},
    ...more
  }: { readonly engine?: object; readonly machine?: object; readonly [fact: string]: unknown } = {},
): EventBody {
  const word = readEngineWord(INSPECT, INFO);
  const facts = {
    ...{ state: "inspected", machineId: "mch-1", running: 1, weaker: [] },
    container: { ...word.container, appArmorProfile: "docker-default", selinuxLabel: "container_t", ...container },
    engine: { ...word.engine, ...engine },
    machine: { ...MACHINE, ...SIGHTING, ...machine },
    ...more,
  };
  return told("session-inspected", JSON.parse(JSON.stringify(facts)), { sessionId: "ses-1" });
}

export function decided(callId: string, decision: IntentBody["decision"], more: Partial<IntentBody> = {}): IntentBody {
  return { ...intent(callId), decision, ...more };
}

const SKILL = {
  name: "git",
  version: "1.0.0",
  digest: `sha256:${"b".repeat(64)}`,
  pinned: true,
  signedBy: ["release"],
};
export const STARTED = told("gateway-started", {
  version: "0.1.0",
  pid: 1,
  user: "ada",
  bundle: BUNDLE,
  skills: [SKILL],
});
const CONNECTION = { connectionId: "conn-1", host: "example.org", port: 443 };
const QUESTION = { approvalId: "apr-1", digest: `sha256:${"f".repeat(64)}` };
const SESSION = { sessionId: "ses-1" };

export const requested = (facts: object = {}) =>
  told("approval-requested", { ...QUESTION, action: "exec", ...facts }, { ...SESSION, callId: "call-ask" });
export const given = (facts: object = {}) =>
  told(
    "approval-given",
    { ...QUESTION, approver: "local:grace", channel: "terminal", scope: "call", ...facts },
    { ...SESSION, callId: "call-ask" },
  );
export const connected = (facts: object = {}) =>
  told(
    "connection-opened",
    { ...CONNECTION, scheme: "https", policies: ["main.cedar#web"], calls: [], ...facts },
    SESSION,
  );
export const disconnected = (facts: object = {}) =>
  told("connection-closed", { ...CONNECTION, sentBytes: 1, receivedBytes: 2, durationMs: 3, ...facts }, SESSION);
export const admitted = (facts: object = {}) =>
  told(
    "package-admitted",
    {
      purl: "pkg:npm/lodash@4.17.21",
      integrity: `sha512-${"ab".repeat(64)}`,
      sha256: "1".repeat(64),
      ageHours: 40_000,
      policies: ["main.cedar#packages"],
      calls: [],
      ...facts,
    },
    SESSION,
  );

/** A log in which every check finds evidence, and none is contradicted. */
export const STORY: readonly RecordBody[] = [
  told("skill-refused", { skill: "deploy", directory: "/skills/deploy", why: ["it is not what skills.lock has"] }),
  told("policy-rejected", { code: "POLICY_ROLLBACK", message: "version 3 is older than 4" }),
  STARTED,
  decided("call-1", "permit"),
  opened(),
  connected(),
  disconnected({ filledIn: ["GITHUB_TOKEN"] }),
  admitted(),
  told(
    "package-refused",
    { ecosystem: "npm", name: "left-pad", version: "9.9.9", reason: "it is 2 hours old" },
    SESSION,
  ),
  told(
    "connection-refused",
    { host: "evil.example", port: 443, reason: "no policy grants it", unrecordedBefore: 3 },
    SESSION,
  ),
  told("placeholder-refused", { host: "evil.example", port: 443, reason: "another session's placeholder" }, SESSION),
  outcome("call-1", { endedBy: "timeout" }),
  inspected(),
  decided("call-2", "deny", { policies: [{ id: "main.cedar#no", effect: "forbid" }] }),
  decided("call-3", "invalid", { policies: [], problems: ["argv: must not be empty"] }),
  decided("call-ask", "ask", { policies: [{ id: "main.cedar#ask", effect: "forbid" }] }),
  requested(),
  given(),
  outcome("call-ask"),
  decided("call-4", "ask"),
  told("approval-refused", { action: "exec", why: "expired" }, { ...SESSION, callId: "call-4" }),
  decided("call-5", "permit", { arguments: { password: "hunter2" } }),
  { ...outcome("call-5"), status: "interrupted" },
  told("session-refused", { code: "ISOLATION_BELOW_FLOOR", message: "seccomp mode is 0" }, { sessionId: "ses-2" }),
  told("session-closed", { why: "idle" }, SESSION),
  told("gateway-stopped", { why: "the client has gone" }),
];
