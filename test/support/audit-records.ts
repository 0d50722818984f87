import { hash } from "node:crypto";
import canonicalize from "canonicalize";
import fc from "fast-check";
import { type AuditRecord, EVENTS, type EventBody, type Json, type RecordBody } from "../../src/audit/record.ts";
import { redact } from "../../src/audit/redact.ts";
import { event, intent, outcome } from "./audit-bodies.ts";

const CHAIN = `chain-${"0".repeat(9)}${"a".repeat(16)}`;

/** A record as the log has it, its hash included. */
export function record(body: RecordBody, seq = 7, time = "2026-11-21T09:30:00.123Z"): AuditRecord {
  const rest = { version: 1, chain: CHAIN, seq, time, gateway: "gw-1", prev: "0".repeat(64), body } as const;
  return { ...rest, hash: hash("sha256", canonicalize(rest) ?? "") };
}

const SHA = "b".repeat(64);
const BUNDLE = { name: "default", version: "1.0.0", digest: `sha256:${"a".repeat(64)}` };
const WOULD_BE = { host: "example.org", port: 443, policies: ["net.cedar#docs"], calls: ["call-1"] };

/** Facts as the gateway writes them. */
const FACTS: Record<EventBody["event"], Json> = {
  "gateway-started": { version: "0.9.0", pid: 7, user: "ada", bundle: BUNDLE, skills: [], digestKey: "0f".repeat(8) },
  "gateway-stopped": { why: "stdin closed" },
  "session-opened": {
    ...{ name: "work", machineId: "mach-1", pooled: true },
    machine: {
      engine: "qemu",
      engineVersion: "9.2.0",
      level: "microvm",
      acceleration: "kvm",
      start: "template",
      pid: 7,
    },
    attestation: { bootId: "0f8f7c34-6e1b-4b6f-9d5e-000000000001", kernelRelease: "6.12.0", hostname: "box" },
  },
  "session-closed": { why: "idle" },
  "session-hibernated": { machineId: "mach-1" },
  "session-woken": { machineId: "mach-2", machine: { engine: "qemu", engineVersion: "9.2.0" }, attestation: {} },
  "skill-refused": { directory: "/skills/x", why: ["not locked"], skill: "x", digest: `sha256:${SHA}` },
  "session-lost": { code: "MACHINE_LOST", message: "the machine ended" },
  "session-refused": { code: "ISOLATION_UNAVAILABLE", message: "no engine" },
  "session-inspected": { state: "inspected", machineId: "mach-1", running: 1, container: {}, engine: {}, weaker: [] },
  "process-ended": {
    ...{ processId: "proc-1", callId: "call-1", endedBy: "exit", exitCode: 0, durationMs: 12 },
    ...{ stdoutBytes: 3, stderrBytes: 0 },
  },
  "connection-opened": { connectionId: "conn-1", scheme: "https", ...WOULD_BE, approvalId: "appr-1" },
  "connection-closed": {
    ...{ connectionId: "conn-1", host: "example.org", port: 443, address: "203.0.113.7" },
    ...{ sentBytes: 100, receivedBytes: 2_000, durationMs: 40, requests: 1, filledIn: ["API"] },
  },
  "connection-refused": { ...WOULD_BE, reason: "not granted", unrecordedBefore: 3 },
  "placeholder-refused": { ...WOULD_BE, reason: "the secret API does not belong there" },
  "package-admitted": {
    ...{ purl: "pkg:npm/left-pad@1.3.0", ecosystem: "npm", name: "left-pad", version: "1.3.0" },
    ...{ file: "left-pad-1.3.0.tgz", registry: "registry.example:443", sha256: SHA, bytes: 900, licenses: ["MIT"] },
    ...{ requested: true, cached: false, policies: ["packages.cedar#npm"], calls: ["call-1"] },
  },
  "package-refused": {
    ...{ ecosystem: "npm", name: "evil", version: "6.6.6", reason: "known malicious" },
    ...{ policies: ["packages.cedar#malicious"], calls: ["call-1"] },
  },
  "advisories-imported": { imported: [{ ecosystem: "npm", records: 9, digest: `sha256:${SHA}` }], by: "local:ada" },
  "port-exposed": { port: 8_080, hostPort: 40_123 },
  "port-closed": { port: 8_080, hostPort: 40_123, requests: 4, refused: 1 },
  "logging-failed": { sink: "central", target: "https://logs.example", problem: "`logs.example` did not answer" },
  "logging-recovered": { sink: "central", target: "https://logs.example", outageMs: 61_000 },
  "snapshot-deleted": { id: "snap-1", name: "before", principalId: "local:ada", by: "local:ada" },
  reconciled: { gateways: ["gw-0"], machines: ["mach-0"], endedPids: [7] },
  "log-recovered": { segment: 1, bytes: 12, sha256: SHA, file: "000001.jsonl.torn" },
  "segment-started": { openCalls: ["call-1"] },
  "policy-loaded": { bundle: BUNDLE, previous: BUNDLE },
  "policy-rejected": { code: "POLICY_INVALID", message: "no permit", inForce: BUNDLE },
  "audit-key": { verifier: "box+00000000+AAAA", rotations: [] },
  checkpoint: { note: "glovebox/box/chain\n7\nAAAA\n\n\u2014 box AAAA\n" },
  "audit-key-rotated": { from: "box+00000000+AAAA", to: "box+00000001+AAAB", note: "a\n\n\u2014 box AAAA\n" },
  "log-truncated": {
    ...{ before: "2026-11-21T00:00:00.000Z", upToSeq: 0, upToHash: SHA, segments: [1, 1], records: 1, bytes: 900 },
    ...{ oldest: "2026-01-01T00:00:00.000Z", newest: "2026-01-01T00:00:00.000Z" },
    ...{ tree: { size: 1, hashes: [SHA] }, rotations: [], torn: [], why: "person", by: "ada" },
  },
  "bodies-erased": { why: "person", by: "local:ada", keyIds: ["ses-1/2026-11-21-1f0c9a3e"], bodies: 2, bytes: 900 },
  "approval-requested": {
    ...{ approvalId: "appr-1", digest: SHA, action: "exec", details: [], policies: [{ id: "main.cedar#ask" }] },
    ...{ channels: ["terminal"], expiresAt: "2026-11-21T09:40:00.000Z" },
  },
  "approval-given": { approvalId: "appr-1", digest: SHA, approver: "local:ada", channel: "terminal", scope: "call" },
  "approval-refused": { action: "exec", approvalId: "appr-1", digest: SHA, why: "denied", approver: "local:ada" },
};

/** One of each kind of event, as the gateway writes it. */
export function everyEvent(): EventBody[] {
  return EVENTS.map((name) => {
    const { callId, ...body } = { ...event(FACTS[name], name), callId: "call-1" };
    return name.startsWith("approval-") ? { ...body, callId } : body;
  });
}

/** Arguments as the log keeps them, of each tool that has its own. */
const ARGUMENTS: Record<string, Json> = {
  exec: { argv: ["/usr/bin/git", "log", "--format=%H it's"], cwd: "/workspace" },
  shell: { script: "sort a.txt | uniq -c > b.txt", scriptSha256: SHA, scriptBytes: 28 },
  ...Object.fromEntries(
    ["readFile", "writeFile", "editFile", "listDirectory", "searchFiles", "importFiles", "exportFiles"].map((tool) => [
      tool,
      { path: "/workspace/a.txt" },
    ]),
  ),
};

export function argumentsOf(tool: string): Json {
  return ARGUMENTS[tool] ?? { sessionId: "ses-1" };
}

/** Text as an agent would choose it to break a format. */
const hostile = fc.oneof(
  fc.constantFrom(
    "",
    "a|b",
    "a=b",
    "x\\",
    "a\nb",
    "a\r\nb",
    "\u2028",
    "\0",
    "\ud800",
    "\udc00x",
    "CEF:0|",
    " =",
    "rt=1 act=permit",
  ),
  fc.string({ unit: "binary", maxLength: 30 }),
);
const json = fc.jsonValue({ maxDepth: 3, stringUnit: "binary" }).map((it) => it as Json);
const facts = fc.oneof(
  json,
  fc.record(
    {
      ...{
        host: hostile,
        port: fc.oneof(fc.integer(), json),
        address: hostile,
        reason: hostile,
        connectionId: hostile,
      },
      ...{ sentBytes: json, receivedBytes: fc.nat(), durationMs: fc.double(), exitCode: json, endedBy: hostile },
      ...{
        callId: fc.constantFrom("call-1", "call-2", ""),
        calls: json,
        policies: fc.array(hostile, { maxLength: 3 }),
      },
      ...{ name: hostile, version: hostile, file: hostile, sha256: hostile, registry: hostile, purl: hostile },
      ...{ approver: hostile, action: hostile, approvalId: hostile, why: hostile, code: hostile, message: hostile },
      ...{ machine: json, attestation: json, machineId: hostile, bundle: json, inForce: json, by: hostile },
    },
    { requiredKeys: [] },
  ),
);

const policies = fc.array(
  fc.record(
    { id: hostile, effect: fc.constantFrom("permit" as const, "forbid" as const), reason: hostile },
    { requiredKeys: ["id", "effect"] },
  ),
  { maxLength: 3 },
);
const callId = fc.constantFrom("call-1", "call-2", "call-3");
const tool = fc.oneof(fc.constantFrom("exec", "shell", "readFile", "writeFile", "installPackage"), hostile);
const args = fc.oneof(
  json,
  fc.record(
    { path: hostile, argv: fc.array(hostile, { maxLength: 4 }), script: hostile, cwd: hostile },
    { requiredKeys: [] },
  ),
);

/** Any body, as the log keeps it. */
export const anyBody: fc.Arbitrary<RecordBody> = fc
  .oneof(
    fc
      .record({
        ...{ callId, tool, arguments: args, decision: fc.constantFrom("permit", "deny", "ask", "invalid"), policies },
        ...{
          id: hostile,
          name: hostile,
          version: hostile,
          problems: fc.array(hostile, { maxLength: 2 }),
          request: json,
        },
        shadow: fc.array(
          fc.record({ would: fc.constantFrom("permit", "deny", "ask"), policies, problems: fc.array(hostile) }),
          {
            maxLength: 2,
          },
        ),
      })
      .map(
        ({ id, name, version, ...it }): RecordBody => ({
          ...intent(it.callId),
          ...it,
          principal: { id, client: { name, version }, transport: "stdio" },
        }),
      ),
    fc
      .record({
        callId,
        status: fc.constantFrom("ok", "error", "interrupted"),
        code: hostile,
        durationMs: fc.double({ noNaN: true, noDefaultInfinity: true }),
        facts,
      })
      .map((it): RecordBody => ({ ...outcome(it.callId), ...it })),
    fc
      .record(
        { event: fc.constantFrom(...EVENTS), sessionId: hostile, callId, facts },
        { requiredKeys: ["event", "facts"] },
      )
      .map((it): RecordBody => ({ kind: "event", ...it })),
  )
  .map((it) => redact(it) as unknown as RecordBody);
