import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { openDigestKey } from "../../src/audit/digest-key.ts";
import { openAuditLog } from "../../src/audit/log.ts";
import { verifyLog } from "../../src/audit/verify.ts";
import { call } from "../../src/call/call.ts";
import type { CallPorts } from "../../src/call/ports.ts";
import { findCapability } from "../../src/capability/registry.ts";
import { createLog } from "../../src/log.ts";
import { createMounts } from "../../src/mounts/mounts.ts";
import { decide, policyOf } from "../../src/policy/decide.ts";
import { holdPolicy } from "../../src/policy/in-force.ts";
import { profileSchema } from "../../src/policy/profile.ts";
import type { SessionTable } from "../../src/session/session.ts";
import { onlyChain, recordsOf, scratch, segments } from "../support/audit.ts";
import { NO_BODIES } from "../support/bodies.ts";
import { layerOf } from "../support/bundle.ts";
import { PRINCIPAL, workbench } from "../support/capability-context.ts";
import { NOBODY } from "../support/policy.ts";

const sha256 = (content: string) => createHash("sha256").update(content).digest("hex");
const TOOLS = ["exec", "shell", "readFile", "writeFile", "editFile"].map((it) => `Glovebox::Action::"${it}"`);
const permitting = (redact: readonly string[]) =>
  policyOf(
    [layerOf("user", `permit(principal, action in [${TOOLS.join(", ")}], resource);`)],
    profileSchema.parse({ audit: { redact } }),
  );

/** Real calls with a real log, as a gateway has them. */
async function recorded(
  make: (ask: (tool: string, args: object) => Promise<unknown>, policy: ReturnType<typeof holdPolicy>) => Promise<void>,
) {
  const data = scratch();
  const directory = join(data, "audit");
  const key = await openDigestKey(join(data, "keys", "redaction.key"));
  const policy = holdPolicy(permitting([]));
  await using bench = workbench();
  {
    const fields = () => policy.current.profile.audit.redact;
    await using audit = await openAuditLog({ directory, gateway: "gw-test", fields, key });
    const sessions = {
      idOf: () => "ses-1",
      lease: () => ({
        machineId: "mach-1",
        session: async () => bench.session,
        [Symbol.asyncDispose]: async () => undefined,
      }),
    } as unknown as SessionTable;
    const ports: CallPorts = {
      find: findCapability,
      accounts: {
        asked: (request) => request,
        reserve: (request) => ({ decision: decide(policy.current, request), request }),
        relief: () => undefined,
        run: () => new DisposableStack(),
      },
      policy,
      approvals: NOBODY,
      audit,
      bodies: NO_BODIES,
      sessions,
      mounts: createMounts([], []),
      log: createLog("silent"),
    };
    const { signal } = new AbortController();
    const ask = (tool: string, args: object) =>
      call({ tool, args, principal: PRINCIPAL, signal, progress: () => undefined }, ports);
    await make(ask, policy);
  }
  expect((await verifyLog(directory)).problemCount).toBe(0);
  const chain = onlyChain(directory);
  const text = segments(chain)
    .map((it) => readFileSync(join(chain, it), "utf8"))
    .join("");
  return { key, text, bodies: recordsOf(chain).map((it) => it.body) };
}

test("[G16] a short secret that is written to a file, or given to a program, can't be guessed from the log", async () => {
  const pin = "4711";
  const path = join(scratch(), "pin");
  const { key, text, bodies } = await recorded(async (ask) => {
    expect(await ask("writeFile", { path, content: pin })).toMatchObject({ kind: "done" });
    expect(await ask("writeFile", { path, content: pin, ifHash: sha256(pin) })).toMatchObject({ kind: "done" });
    expect(await ask("writeFile", { path, content: "x", ifHash: sha256("0000") })).toMatchObject({ kind: "failed" });
    expect(await ask("readFile", { path })).toMatchObject({ kind: "done" });
    expect(await ask("editFile", { path, edits: [{ oldText: pin, newText: "0815" }] })).toMatchObject({ kind: "done" });
    expect(await ask("exec", { argv: ["cat"], stdin: pin, cwd: "/tmp" })).toMatchObject({ kind: "done" });
    expect(await ask("writeFile", { content: [pin] })).toMatchObject({ kind: "failed" });
  });
  // Whoever reads the log tries them all.
  const candidates = Array.from({ length: 10_000 }, (_, n) => sha256(String(n).padStart(4, "0")));
  expect(candidates.filter((it) => text.includes(it))).toEqual([]);
  // That it is the same content still shows, and who has the key can ask for it.
  const keyed = key.keyed(sha256(pin));
  expect(bodies[0]).toMatchObject({ arguments: { content: { bytes: 4, hmacSha256: keyed } } });
  expect(bodies[3]).toMatchObject({ facts: { hmacSha256: keyed, before: { bytes: 4, hmacSha256: keyed } } });
  expect(text.split(keyed).length).toBeGreaterThan(8);
});

test("a file that the world knows can be compared with what it knows", async () => {
  const path = join(scratch(), "large");
  writeFileSync(path, "a".repeat(5_000));
  const { text } = await recorded(async (ask) => {
    await ask("writeFile", { path, content: "b".repeat(5_000) });
  });
  for (const content of ["a".repeat(5_000), "b".repeat(5_000)]) expect(text).toContain(sha256(content));
});

test("what the policy in force names is in no line, from the call behind its loading on", async () => {
  const secret = join(scratch(), "acme-merger.txt");
  const { text, bodies } = await recorded(async (ask, policy) => {
    policy.replace(permitting(["writeFile.path", "readFile.path", "customerId"]));
    await ask("writeFile", { path: secret, content: "x" });
    await ask("readFile", { path: `${secret}/no` });
    await ask("exec", { argv: ["echo", "--customer-id", "acme-1"], cwd: "/tmp", env: { CUSTOMER_ID: "acme-2" } });
    await ask("shell", { script: "customer_id=acme-3; echo $customer_id", cwd: "/tmp" });
    policy.replace(permitting([]));
    await ask("exec", { argv: ["echo", "--customer-id", "not hidden"], cwd: "/tmp" });
  });
  expect(text).not.toContain("acme");
  expect(text).toContain("not hidden");
  expect(bodies).toHaveLength(10);
});
