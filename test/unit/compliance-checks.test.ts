import { describe, expect, test } from "vitest";
import type { AuditRecord, RecordBody } from "../../src/audit/record.ts";
import type { ChainRead } from "../../src/compliance/chain-read.ts";
import type { Check, CheckResult } from "../../src/compliance/check.ts";
import { CHECKS } from "../../src/compliance/checks.ts";
import { joined, startTally } from "../../src/compliance/tally.ts";
import { outcome } from "../support/audit-bodies.ts";
import {
  admitted,
  BUNDLE,
  connected,
  decided,
  disconnected,
  given,
  inspected,
  opened,
  requested,
  STARTED,
  STORY,
  told,
} from "../support/compliance.ts";

/** What a check makes of these records, in one chain. `counts` says which of them are in the time that is asked for. */
function resultOf(
  check: Check,
  bodies: readonly RecordBody[],
  counts: (at: number) => boolean = () => true,
  firstSeq = 0,
): CheckResult {
  const tally = startTally();
  if (check.of !== "records") throw new Error("it is a check of chains");
  const see = check.start(tally);
  for (const [at, body] of bodies.entries()) {
    const seq = firstSeq + at;
    const time = new Date(Date.UTC(2026, 10, 21) + seq * 1_000).toISOString();
    const record: AuditRecord = {
      ...{
        version: 1,
        chain: "chain-0000000000123456789abcdef",
        seq,
        time,
        gateway: "gw-1",
        prev: "0".repeat(64),
        body,
      },
      hash: String(seq).padStart(64, "0"),
    };
    tally.at(counts(at) ? record : undefined);
    see(record);
  }
  return tally.result();
}

function checkOf(id: string): Check {
  const check = CHECKS.find((it) => it.id === id);
  if (!check) throw new Error(`there is no check ${id}`);
  return check;
}

/** Checks that an inspection alone can answer. */
const INSPECTED = {
  "sessions-inspected": {
    none: [opened(), told("session-inspected", { state: "hibernated" }, { sessionId: "ses-1" })],
    wrong: [
      [inspected({}, { weaker: ["it is privileged"] })],
      [inspected({}, { state: "unseen", code: "CHANNEL_VIOLATION", weaker: ["it is not JSON"] })],
      [told("session-lost", { code: "ISOLATION_BELOW_FLOOR", message: "an inspection found: x" })],
    ],
  },
  "container-privileged": { none: [opened()], wrong: [[inspected({ privileged: true })]] },
  "container-apparmor": { none: [inspected({ appArmorProfile: "" }), inspected({ appArmorProfile: "unconfined" })] },
  "container-selinux": { none: [inspected({ selinuxLabel: "" })] },
  "container-cpu-limit": { none: [opened()], wrong: [[inspected({ nanoCpus: 0 })]] },
  "container-namespaces": {
    none: [inspected({ pidMode: undefined })],
    wrong: [[inspected({ pidMode: "host" })], [inspected({ ipcMode: "container:x" })]],
  },
  "container-cgroup": { none: [opened()], wrong: [[inspected({ cgroupParent: "/system.slice" })]] },
  "container-ports": {
    none: [opened()],
    wrong: [[inspected({ ports: ["22/tcp"] })], [inspected({ publishesAllPorts: true })]],
  },
  "container-restart": { none: [opened()], wrong: [[inspected({ restartPolicy: "always" })]] },
  "container-ulimits": { none: [opened()], wrong: [[inspected({ ulimits: [] })]] },
  "container-propagation": {
    none: [opened()],
    wrong: [[inspected({ mounts: [{ type: "bind", source: "/a", target: "/b", propagation: "rshared" }] })]],
  },
  "container-execs": { none: [opened()], wrong: [[inspected({ execs: 2 })]] },
  "engine-swarm": { none: [opened()], wrong: [[inspected({}, { engine: { swarm: "active" } })]] },
  "machine-process": {
    none: [inspected({}, { machine: { uid: undefined } })],
    wrong: [
      [inspected({}, { machine: { uid: 0 } })],
      [inspected({}, { machine: { seccompMode: 0 } })],
      [inspected({}, { machine: { devices: ["virtio-net-pci"] } })],
    ],
  },
};

/** What an inspection may see where an attestation had nothing to say against it. */
const SEEN_LATER: Readonly<Record<string, readonly RecordBody[]>> = {
  "container-user": [inspected({ user: "" }), inspected({ user: "0:0" }), inspected({ groupAdd: ["root"] })],
  "container-capabilities": [inspected({ capAdd: ["SYS_ADMIN"] }), inspected({ capDrop: [] })],
  "container-no-new-privileges": [
    inspected({ securityOpt: [] }),
    inspected({ securityOpt: ["no-new-privileges:false"] }),
  ],
  "container-seccomp": [
    inspected({ securityOpt: ["no-new-privileges:true", "seccomp=unconfined"] }),
    inspected({}, { engine: { securityOptions: ["name=cgroupns"] } }),
    inspected({}, { engine: { securityOptions: ["name=seccomp,profile=unconfined"] } }),
  ],
  "container-read-only-root": [inspected({ readOnlyRoot: false })],
  "container-pids-limit": [inspected({ pidsLimit: 0 }), inspected({ pidsLimit: -1 })],
  "container-memory-limit": [inspected({ memoryBytes: 0 })],
  "container-mounts": [
    inspected({ mounts: [{ type: "bind", source: "/etc", target: "/host", writable: false }] }),
    inspected({ mounts: [{ type: "bind", source: "/run/glovebox/../../etc", target: "/host", writable: false }] }),
    inspected({ mounts: [{ type: "bind", source: "/run/glovebox/authorities.pem", target: "/a", writable: true }] }),
    inspected({ mounts: [{ type: "volume", source: "/v", target: "/host", writable: true }] }),
    inspected({ mounts: ["/v", "/w"].map((source) => ({ type: "volume", source, target: "/tmp", writable: true })) }),
  ],
  "container-engine-socket": [
    inspected({ mounts: [{ type: "bind", source: "/var/run/docker.sock", target: "/x", writable: false }] }),
  ],
  "container-devices": [inspected({ devices: ["/dev/kvm"] }), inspected({ deviceRequests: 1 })],
  "container-network": [inspected({ networkMode: "host" }), inspected({ networks: ["bridge"] })],
  "container-kernel-paths": [inspected({ maskedPaths: [] })],
};

const denied = decided("call-2", "deny");
/** Of each check records about which it has nothing good to say; `none` happen without evidence, each of `wrong` contradicts it. */
const CASES: Readonly<Record<string, { none?: readonly RecordBody[]; wrong?: readonly (readonly RecordBody[])[] }>> = {
  checkpoints: { none: [STARTED] },
  "call-intents": {
    wrong: [
      [outcome("call-9")],
      [denied, outcome("call-2")],
      [decided("call-2", "ask"), outcome("call-2")],
      [decided("call-1", "permit"), outcome("call-1"), outcome("call-1")],
    ],
  },
  "denied-calls": {
    none: [decided("call-1", "permit")],
    wrong: [
      [denied, outcome("call-2")],
      [denied, connected({ calls: ["call-2"] })],
      [denied, admitted({ calls: ["call-2"] })],
    ],
  },
  "invalid-calls": {
    none: [decided("call-1", "permit")],
    wrong: [[decided("call-3", "invalid"), outcome("call-3")]],
  },
  "decisions-named": {
    none: [decided("call-1", "deny", { policies: [] })],
    wrong: [
      [decided("call-1", "permit", { policies: [] })],
      [decided("call-1", "permit", { bundle: { name: "default", version: "1.0.0", digest: "" } })],
    ],
  },
  "principals-named": {
    wrong: [[decided("call-1", "permit", { principal: { ...denied.principal, id: "" } })]],
  },
  "interrupted-calls": {
    none: [decided("call-1", "permit"), outcome("call-1")],
    wrong: [[STARTED, decided("call-1", "permit"), STARTED]],
  },
  "policy-in-force": {
    none: [decided("call-1", "permit")],
    wrong: [
      [STARTED, decided("call-1", "permit", { bundle: { ...denied.bundle, digest: `sha256:${"9".repeat(64)}` } })],
    ],
  },
  "policy-refused": { none: [STARTED] },
  approvals: {
    none: [decided("call-4", "ask")],
    wrong: [
      [given()],
      [requested(), given({ digest: `sha256:${"0".repeat(64)}` })],
      [requested(), given({ approver: "" })],
      [requested(), given({ approver: "client:local:ada", channel: "webhook" })],
      [requested(), given({ approver: "local:ada", channel: "slack" })],
      [given({ channel: "grant" })],
    ],
  },
  // The call that an answer which does not count is about may have been approved and run.
  "approvals-refused": { none: [requested(), told("approval-refused", { why: "invalid" }, { callId: "call-ask" })] },
  "session-isolation": {
    none: [opened({}, { level: "shared-kernel" })],
    wrong: [
      [told("session-opened", {}, { sessionId: "ses-1" })],
      [told("session-opened", { machine: { level: "microvm" } }, { sessionId: "ses-1" })],
      [told("process-ended", {}, { sessionId: "ses-7" })],
      [connected()],
    ],
  },
  "session-refused": { none: [opened()] },
  "sessions-ended": { none: [opened()] },
  "agent-image": { none: [told("session-opened", {}, { sessionId: "ses-1" })] },
  "container-user": {
    none: [opened({ uids: undefined })],
    wrong: [[opened({ uids: [0, 0, 0, 0] })], [opened({ groups: [1000, 0] })]],
  },
  "container-capabilities": {
    none: [opened({ capabilities: undefined })],
    wrong: [
      [opened({ capabilities: { inheritable: "0", permitted: "0", effective: "2", bounding: "0", ambient: "0" } })],
    ],
  },
  "container-no-new-privileges": {
    none: [opened({ noNewPrivs: undefined })],
    wrong: [[opened({ noNewPrivs: false })]],
  },
  "container-seccomp": { none: [opened({ seccompMode: undefined })], wrong: [[opened({ seccompMode: 0 })]] },
  "container-read-only-root": {
    none: [opened({ mounts: [] })],
    wrong: [[opened({ mounts: [{ target: "/", root: "/", fstype: "overlay", options: ["rw"] }] })]],
  },
  "container-pids-limit": { none: [told("session-opened", {})], wrong: [[opened({ pidsMax: undefined })]] },
  "container-memory-limit": { none: [told("session-opened", {})], wrong: [[opened({ memoryMaxBytes: undefined })]] },
  "container-mounts": {
    none: [opened({ mounts: undefined })],
    wrong: [[opened({ mounts: [{ target: "/host", root: "/", fstype: "virtiofs", options: ["rw"] }] })]],
  },
  "container-engine-socket": {
    none: [opened({ sockets: undefined })],
    wrong: [
      [opened({ sockets: ["/var/run/docker.sock"] })],
      [opened({ mounts: [{ target: "/x/docker.sock", root: "/", fstype: "tmpfs", options: ["ro"] }] })],
    ],
  },
  "container-devices": { none: [opened({ devices: undefined })], wrong: [[opened({ devices: ["/dev/kvm"] })]] },
  "container-network": {
    none: [opened({ routes: undefined })],
    wrong: [[opened({ interfaces: ["lo", "eth0"] })], [opened({ routes: ["eth0 00000000"] })]],
  },
  "container-kernel-paths": {
    none: [opened({ writablePaths: undefined })],
    wrong: [[opened({ unmaskedPaths: ["/proc/kcore"] })], [opened({ writablePaths: ["/proc/sys"] })]],
  },
  ...INSPECTED,
  limits: { none: [outcome("call-1", { endedBy: "exit" })] },
  "egress-granted": {
    wrong: [[connected({ policies: [] })], [connected({ policies: undefined })], [disconnected()]],
  },
  "egress-refused": { none: [connected()] },
  "secrets-absent": {
    wrong: [[decided("call-1", "permit", { arguments: { argv: ["login", `ghp_${"a1B2".repeat(9)}`] } })]],
  },
  "secrets-outside": { none: [disconnected()] },
  "packages-admitted": { wrong: [[admitted({ sha256: "x" })], [admitted({ policies: [] })]] },
  "packages-refused": { none: [admitted()] },
  "skills-pinned": {
    none: [told("gateway-started", { skills: [{ name: "git", version: "1", digest: "sha256:1", pinned: false }] })],
  },
  "skills-refused": { none: [STARTED] },
};

const clean = STORY.map((it) =>
  it.kind === "intent" && it.callId === "call-5" ? { ...it, arguments: "[redacted:name]" } : it,
);
// A log of this version can't have them yet, or has them in the log itself.
const checkpoint = {
  ...told("gateway-stopped", { note: "glovebox/chain-1\n25\nabc=" }),
  event: "checkpoint",
} as unknown as RecordBody;

test("every check of records is tried, with evidence and with what is none", () => {
  expect(Object.keys(CASES).toSorted()).toEqual(
    CHECKS.flatMap((it) => (it.of === "records" ? [it.id] : [])).toSorted(),
  );
  expect(new Set(CHECKS.map((it) => it.id)).size).toBe(CHECKS.length);
});

test.each(Object.entries(CASES).flatMap(([id, { none }]) => (none ? [[id, none] as const] : [])))(
  "%s tells what happened without evidence",
  (id, none) => {
    expect(resultOf(checkOf(id), none)).toMatchObject({ state: "none", examples: [] });
  },
);

describe.each(Object.entries(CASES))("%s", (id, { wrong = [] }) => {
  const check = checkOf(id);

  test("finds evidence in a log that has it, with records to look up", () => {
    const { state, examples, counts } = resultOf(check, [...clean, checkpoint]);
    expect(state).toBe("found");
    expect(Object.values(counts).every((it) => it > 0)).toBe(true);
    expect(examples.length).toBeLessThanOrEqual(5);
    if (id !== "secrets-absent") expect(examples[0]).toMatchObject({ hash: expect.stringMatching(/^\d{64}$/) });
  });

  test("says nothing where there is nothing to judge by", () => {
    expect(resultOf(check, [])).toEqual({ state: "no-data", counts: {}, examples: [] });
    const outside = resultOf(check, [...clean, checkpoint], () => false);
    expect(outside).toEqual({ state: "no-data", counts: {}, examples: [] });
  });

  test.each(wrong.map((bodies, at) => [at, bodies] as const))(
    "is contradicted, whatever evidence there is besides: %i",
    (_, bodies) => {
      const alone = resultOf(check, bodies);
      expect(alone.state).toBe("contradicted");
      expect(alone.examples.length).toBeGreaterThan(0);
      const other = resultOf(check, clean);
      expect(joined([other, alone])).toMatchObject({ state: "contradicted", examples: alone.examples });
      expect(joined([other, alone])).toEqual(joined([alone, other]));
    },
  );
});

test.each(Object.entries(SEEN_LATER))("%s is contradicted by what an inspection saw later", (id, bodies) => {
  for (const body of bodies)
    expect(resultOf(checkOf(id), [opened(), body]).state, JSON.stringify(body)).toBe("contradicted");
  expect(resultOf(checkOf(id), [opened(), inspected()])).toMatchObject({
    state: "found",
    counts: { "containers that attested it": 1, "inspections that saw it": 1 },
  });
});

test("a session that was not looked at says nothing of how it is confined now", () => {
  const unseen = told("session-inspected", { state: "unseen", problem: "it took too long" }, { sessionId: "ses-1" });
  for (const id of Object.keys(SEEN_LATER)) {
    expect(resultOf(checkOf(id), [unseen])).toMatchObject({ state: "no-data" });
  }
  for (const id of Object.keys(INSPECTED)) expect(resultOf(checkOf(id), [unseen]).state).toBe("none");
});

test("what was begun before the time that is asked for is known in it", () => {
  const bodies = [STARTED, decided("call-1", "permit"), opened(), connected(), outcome("call-1"), disconnected()];
  for (const id of ["call-intents", "session-isolation", "egress-granted", "policy-in-force"]) {
    expect(resultOf(checkOf(id), bodies, (at) => at > 3).state).not.toBe("contradicted");
  }
  expect(resultOf(checkOf("call-intents"), bodies, (at) => at > 3).state).toBe("found");
});

test("what began in records that were removed contradicts nothing, and what begins later does", () => {
  const next = { ...decided("", "permit").bundle, digest: `sha256:${"7".repeat(64)}` };
  const left = [
    told("segment-started", { openCalls: ["call-1"] }),
    ...[outcome("call-1"), connected(), disconnected({ connectionId: "conn-0" }), given()],
    ...[told("policy-loaded", { bundle: next, previous: BUNDLE }), decided("call-2", "permit")],
  ];
  const ids = ["call-intents", "session-isolation", "egress-granted", "approvals", "policy-in-force"];
  for (const id of ids) expect([id, resultOf(checkOf(id), left, () => true, 100).state]).not.toContain("contradicted");
  for (const id of ids.slice(0, 3)) {
    expect(resultOf(checkOf(id), left, () => true, 100).counts).toMatchObject({
      "begun before what is left of the log": 1,
    });
    expect([id, resultOf(checkOf(id), left).state]).toEqual([id, "contradicted"]);
    const later = [...left, STARTED, outcome("call-1"), connected(), disconnected({ connectionId: "conn-0" })];
    expect([id, resultOf(checkOf(id), later, () => true, 100).state]).toEqual([id, "contradicted"]);
  }
});

test("a policy that was replaced while calls were being decided is still a named one", () => {
  const next = { ...decided("", "permit").bundle, digest: `sha256:${"7".repeat(64)}` };
  const loaded = told("policy-loaded", { bundle: next });
  const bodies = [STARTED, loaded, decided("call-1", "permit"), decided("call-2", "permit", { bundle: next })];
  expect(resultOf(checkOf("policy-in-force"), bodies)).toMatchObject({ state: "found" });
});

test("a decision by a policy that was put on record earlier is evidence by itself", () => {
  const bodies = [STARTED, decided("call-1", "permit"), decided("call-2", "deny")];
  expect(resultOf(checkOf("policy-in-force"), bodies, (at) => at > 0)).toMatchObject({
    ...{ state: "found", counts: { "decided by a named policy": 2 } },
    examples: [{ seq: 1 }, { seq: 2, text: `call-2 was decided by ${BUNDLE.digest}` }],
  });
});

test("facts of another form than this version knows break no check", () => {
  const strange = [
    null,
    1,
    "text",
    [],
    [null],
    { bundle: 1, skills: {}, machine: [], attestation: "x", calls: [1], mounts: 1 },
  ];
  const events = [
    "gateway-started",
    "session-opened",
    "connection-opened",
    "package-admitted",
    "approval-given",
    "session-inspected",
  ] as const;
  const bodies = events.flatMap((name) => strange.map((facts) => told(name, facts as object)));
  for (const check of CHECKS) if (check.of === "records") expect(() => resultOf(check, bodies)).not.toThrow();
});

test("a check of secrets names the place and never the secret", () => {
  const secret = `ghp_${"a1B2".repeat(9)}`;
  const result = resultOf(checkOf("secrets-absent"), [decided("call-1", "permit", { arguments: { argv: [secret] } })]);
  expect(JSON.stringify(result)).not.toContain(secret);
  expect(result.examples[0]?.text).toBe("it is in `arguments`");
});

test("a chain that does not verify contradicts, with the place; one with a torn end does not", () => {
  const check = checkOf("log-verifies");
  if (check.of !== "chains") throw new Error("it is a check of records");
  const problem = {
    kind: "hash",
    chain: "chain-1",
    file: "000001.jsonl",
    line: 7,
    message: "its hash is not",
  } as const;
  const result = (chain: Partial<ChainRead>) => {
    const tally = startTally();
    tally.at({ chain: "chain-1" });
    check.see(
      { chain: "chain-1", records: 3, counted: 3, problems: [], problemCount: 0, isWhole: true, ...chain },
      tally,
    );
    return tally.result();
  };
  expect(result({}).state).toBe("found");
  const truncated = { records: 7, before: "2026-01-01T00:00:00.000Z" } as ChainRead["truncated"];
  expect(result({ ...(truncated && { truncated }) })).toMatchObject({
    counts: { "chains that verify from where earlier records were removed": 1 },
    examples: [{ text: "3 records; 7 from before 2026-01-01T00:00:00.000Z are gone" }],
  });
  expect(result({ problems: [{ ...problem, kind: "torn" }], problemCount: 1 }).state).toBe("none");
  expect(result({ problems: [problem], problemCount: 3, isWhole: false })).toMatchObject({
    state: "contradicted",
    examples: [{ text: "000001.jsonl:7: its hash is not, and 2 more" }],
  });
});
