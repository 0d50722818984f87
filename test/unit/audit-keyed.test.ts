import { createHash, createHmac } from "node:crypto";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import canonicalize from "canonicalize";
import fc from "fast-check";
import { afterAll, describe, expect, test, vi } from "vitest";
import { bodyText } from "../../src/audit/body.ts";
import { digestKeyFile, openDigestKey, readDigestKey } from "../../src/audit/digest-key.ts";
import { contentHash } from "../../src/audit/export/ocsf-parts.ts";
import type { Json, RecordBody } from "../../src/audit/record.ts";
import { MAX_STRING_CHARS, redact } from "../../src/audit/redact.ts";
import { createRedactor } from "../../src/audit/redact-body.ts";
import { shell } from "../../src/capability/shell.ts";
import { writeFile } from "../../src/capability/write-file.ts";
import { digestCommand } from "../../src/cli/audit-digest.ts";
import { learnScripts } from "../../src/policy/learn/programs.ts";
import { hasKeyedDigest, readRecorded, recordedRequest } from "../../src/policy/replay.ts";
import { scratch } from "../support/audit.ts";
import { event, intent, outcome } from "../support/audit-bodies.ts";
import { anyBody, everyEvent } from "../support/audit-records.ts";
import { PRINCIPAL } from "../support/capability-context.ts";

const sha256 = (content: string) => createHash("sha256").update(content).digest("hex");
const SHA = sha256("hunter2");
const directory = mkdtempSync(join(tmpdir(), "glovebox-keyed-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
const key = await openDigestKey(join(directory, "keys", "redaction.key"));
const redactor = createRedactor({ key });
const written = (body: RecordBody) => JSON.parse(bodyText(body, redactor));

test("a key is made once, for its owner alone, beside the key that signs, and one that others may read is refused", async () => {
  const file = digestKeyFile(join(scratch(), "keys", "audit.key"));
  const made = await Promise.all(Array.from({ length: 8 }, () => openDigestKey(file)));
  expect(new Set(made.map((it) => it.keyed(SHA))).size).toBe(1);
  expect(readdirSync(join(file, ".."))).toEqual(["redaction.key"]);
  expect([statSync(file).mode & 0o777, statSync(join(file, "..")).mode & 0o777]).toEqual([0o600, 0o700]);
  // As the documents say that it is made, so that others can make it.
  const [, secret = ""] = /^REDACTION\+KEY\+(.*)\n$/.exec(readFileSync(file, "utf8")) ?? [];
  const expected = createHmac("sha256", Buffer.from(secret, "base64")).update(Buffer.from(SHA, "hex")).digest("hex");
  expect((await readDigestKey(file)).keyed(SHA)).toBe(expected);
  const check = createHmac("sha256", Buffer.from(secret, "base64")).update("check value").digest("hex").slice(0, 16);
  expect(made.map((it) => it.check)).toEqual(Array(8).fill(check));
  chmodSync(file, 0o640);
  await expect(openDigestKey(file)).rejects.toMatchObject({
    code: "CONFIG_INVALID",
    message: expect.stringContaining("chmod 600"),
  });
  chmodSync(file, 0o600);
  for (const damaged of ["", "x\n", `REDACTION+KEY+${Buffer.alloc(31).toString("base64")}\n`, "PRIVATE+KEY+a+b+c\n"]) {
    writeFileSync(file, damaged);
    await expect(openDigestKey(file)).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      message: expect.stringContaining("restore it from a backup"),
    });
  }
});

test("a keyed digest is never the plain one; it is the same in one data directory, and another in any other", async () => {
  const other = await openDigestKey(join(scratch(), "keys", "redaction.key"));
  fc.assert(
    fc.property(fc.string(), fc.string(), (a, b) => {
      const [one, two] = [sha256(a), sha256(b)];
      expect(key.keyed(one)).toMatch(/^[0-9a-f]{64}$/);
      expect([one, other.keyed(one)]).not.toContain(key.keyed(one));
      expect(key.keyed(one) === key.keyed(two)).toBe(a === b);
    }),
  );
});

describe("what is short, or no file, has a keyed digest", () => {
  const K = key.keyed(SHA);
  test.each<[string, RecordBody, object]>([
    [
      "a short file",
      outcome("c", { path: "/a", bytes: 7, sha256: SHA, before: { bytes: 7, sha256: SHA } }),
      { facts: { bytes: 7, hmacSha256: K, before: { bytes: 7, hmacSha256: K } } },
    ],
    [
      "a short file that was read",
      outcome("c", { sizeBytes: 7, sha256: SHA }),
      { facts: { sizeBytes: 7, hmacSha256: K } },
    ],
    [
      "the content to write",
      intent("c", { content: { bytes: 7, sha256: SHA } }),
      { arguments: { content: { bytes: 7, hmacSha256: K } } },
    ],
    [
      "what policy saw of it",
      { ...intent("c"), request: { context: { bytes: 7, sha256: SHA } } },
      { request: { context: { bytes: 7, hmacSha256: K } } },
    ],
    ["the file that is expected", intent("c", { ifHash: SHA }), { arguments: { ifHash: `hmac-sha256:${K}` } }],
    [
      "an input of any size",
      intent("c", { stdin: { bytes: 9_000, sha256: SHA } }),
      { arguments: { stdin: { bytes: 9_000, hmacSha256: K } } },
    ],
    [
      "a piece of a file",
      intent("c", { edits: [{ oldText: { bytes: 9_000, sha256: SHA } }] }),
      { arguments: { edits: [{ oldText: { bytes: 9_000, hmacSha256: K } }] } },
    ],
    [
      "arguments that nobody checked",
      { ...intent("c", { bytes: 9_000, sha256: SHA }), decision: "invalid" },
      { arguments: { bytes: 9_000, hmacSha256: K } },
    ],
    [
      "many files as one",
      outcome("c", { files: 2, bytes: 9_000, sha256: SHA }),
      { facts: { files: 2, hmacSha256: K } },
    ],
    [
      "one without a size",
      outcome("c", { sha256: SHA, beforeSha256: SHA }),
      { facts: { hmacSha256: K, beforeHmacSha256: K } },
    ],
    [
      "a failed call",
      {
        ...outcome("c", { message: `the file's sha256 is ${SHA} now`, x: { bytes: 9_000, sha256: SHA } }),
        status: "error",
      },
      { facts: { message: `the file's hmac-sha256 is ${K} now`, x: { hmacSha256: K } } },
    ],
    [
      "what a person was asked",
      event(
        { digest: SHA, details: [{ label: "standard input", text: `(7 bytes, sha256 ${SHA})` }] },
        "approval-requested",
      ),
      { facts: { digest: `hmac-sha256:${K}`, details: [{ text: `(7 bytes, hmac-sha256 ${K})` }] } },
    ],
    [
      "a script that is not whole",
      intent("c", { script: "p [redacted:flag]", scriptSha256: SHA, scriptBytes: 9_000 }),
      { arguments: { scriptHmacSha256: K } },
    ],
  ])("%s", (_what, body, expected) => {
    const clean = written(body);
    expect(clean).toMatchObject(expected);
    expect(JSON.stringify(clean)).not.toContain(SHA);
    expect(written(clean)).toEqual(clean);
  });
});

test("what is as large as a file, whole in the record, or public keeps its SHA-256", () => {
  const script = "make test";
  const same: RecordBody[] = [
    outcome("c", { bytes: 4_096, sha256: SHA, before: { bytes: 5_000, sha256: SHA } }),
    outcome("c", { packages: [{ purl: "pkg:npm/a@1.0.0", sha256: SHA }] }),
    {
      ...intent("c", { script, scriptSha256: sha256(script) }),
      request: { context: { scriptSha256: sha256(script), scriptBytes: 9 } },
    },
    ...everyEvent().filter((it) => !it.event.startsWith("approval-")),
  ];
  for (const body of same) expect(written(body)).toEqual(JSON.parse(canonicalize(redact(body)) ?? ""));
});

test("texts and arguments that are too long for a record have keyed digests", () => {
  const long = "x".repeat(MAX_STRING_CHARS + 1);
  expect(written(intent("c", { a: long })).arguments).toEqual({
    a: { bytes: long.length, hmacSha256: key.keyed(sha256(long)) },
  });
  const many = Array.from({ length: 20 }, () => "y".repeat(MAX_STRING_CHARS));
  expect(written(intent("c", many)).arguments).toEqual({
    bytes: expect.any(Number),
    hmacSha256: expect.stringMatching(/^[0-9a-f]{64}$/),
  });
});

test("keyed digests are total and idempotent, whatever a record holds", () => {
  const hex = fc.constantFrom(SHA, sha256("a"));
  const named = fc.dictionary(
    fc.constantFrom(
      "sha256",
      "scriptSha256",
      "ifHash",
      "digest",
      "bytes",
      "files",
      "stdin",
      "script",
      "hmacSha256",
      "purl",
    ),
    fc.oneof(
      hex,
      fc.nat(9_000),
      fc.constant("x"),
      fc.dictionary(fc.constantFrom("sha256", "bytes"), fc.oneof(hex, fc.nat(9_000))),
    ),
  );
  const bodies = fc.oneof(
    anyBody,
    named.map((it) => intent("c", it as Json)),
    named.map((it) => outcome("c", it as Json)),
    named.map((it) => event(it as Json, "approval-refused")),
  );
  fc.assert(
    fc.property(bodies, (body) => {
      const once = JSON.parse(JSON.stringify(redactor.redacted(JSON.parse(JSON.stringify(redact(body))))));
      expect(JSON.parse(JSON.stringify(redactor.redacted(once)))).toEqual(once);
    }),
    { numRuns: 400 },
  );
});

test("a call that policy's names are about has keyed digests only", () => {
  const ruled = createRedactor({ key, fields: () => ["writeFile.content"] });
  const body = {
    ...intent("c", { path: "/a", content: { bytes: 9_000, sha256: SHA } }),
    tool: "writeFile",
    request: { context: { bytes: 9_000, sha256: SHA } },
  };
  expect(JSON.stringify(ruled.redacted(body))).not.toContain(SHA);
  expect(JSON.stringify(ruled.redacted(outcome("c", { bytes: 9_000, sha256: SHA })))).not.toContain(SHA);
});

test("at the command line, both digests of a content; nothing without the key", async () => {
  const place = scratch();
  const keyFile = join(place, "keys", "audit.key");
  const file = join(place, "notes.txt");
  writeFileSync(file, "hunter2");
  const printed = async (...args: string[]) => {
    const spy = vi.spyOn(process.stdout, "write").mockReturnValue(true);
    try {
      await digestCommand({ keyFile: () => keyFile })
        .exitOverride()
        .parseAsync(args, { from: "user" });
      return spy.mock.calls.map(([text]) => String(text)).join("");
    } finally {
      spy.mockRestore();
    }
  };
  await expect(printed(file)).rejects.toMatchObject({
    code: "CONFIG_INVALID",
    message: expect.stringContaining("next start"),
  });
  const own = await openDigestKey(digestKeyFile(keyFile));
  expect(await printed(file)).toBe(`sha256      ${SHA}\nhmacSha256  ${own.keyed(SHA)}\n`);
  expect(JSON.parse(await printed(file, "--json"))).toEqual({ sha256: SHA, hmacSha256: own.keyed(SHA) });
  expect(await printed("--sha256", SHA.toUpperCase())).toContain(own.keyed(SHA));
  await expect(printed()).rejects.toMatchObject({ code: "INVALID_ARGUMENTS" });
  await expect(printed(file, "--sha256", SHA)).rejects.toMatchObject({ code: "INVALID_ARGUMENTS" });
  await expect(printed(join(place, "none"))).rejects.toMatchObject({ code: "INVALID_ARGUMENTS" });
});

describe("whoever reads them", () => {
  const recordedOf = (capability: typeof shell | typeof writeFile, given: object) => {
    const { resource, context, audit } = capability.describe(capability.input.parse(given) as never, PRINCIPAL);
    const request = { principal: PRINCIPAL, action: capability.name, resource, context };
    const body = {
      ...intent("c", audit),
      tool: capability.name,
      request: JSON.parse(JSON.stringify(recordedRequest(request, { usage: false }))),
    };
    const kept = written(body);
    return { request, kept, replayed: readRecorded(PRINCIPAL, kept.request) };
  };

  test("a decision about a short file is made again, with a digest that no policy names", () => {
    const { request, kept, replayed } = recordedOf(writeFile, { path: "/workspace/pin", content: "1234" });
    expect(JSON.stringify(kept)).not.toContain(sha256("1234"));
    expect(hasKeyedDigest(kept.request)).toBe(true);
    expect(replayed).toEqual({
      ...request,
      context: { ...request.context, sha256: `hmac-sha256:${key.keyed(sha256("1234"))}` },
    });
  });

  test("scripts are learned by their digest where the log has them whole, and left out where it has not", () => {
    const past = (script: string) => {
      const { kept, replayed } = recordedOf(shell, { script });
      if ("problem" in replayed) throw new Error(replayed.problem);
      const assumed = hasKeyedDigest(kept.request) ? (["digest"] as const) : [];
      return {
        time: "",
        decided: "permit" as const,
        policies: [],
        request: replayed,
        arguments: kept.arguments,
        assumed,
      };
    };
    const { rules, leftOut } = learnScripts([past("make test"), past("mysql --password hunter2 < x.sql")]);
    expect(rules.flatMap((it) => it.remarks).join("\n")).toContain(`${sha256("make test")} make test`);
    expect(rules.flatMap((it) => it.conditions).join("\n")).not.toContain("hmac");
    expect(leftOut.map((it) => it.why)).toEqual([expect.stringContaining("does not have its script whole")]);
  });

  test("a file's event of OCSF says which kind of digest it has", () => {
    expect(contentHash({ sha256: SHA })).toEqual({ algorithm: "SHA-256", algorithm_id: 3, value: SHA });
    expect(contentHash({ hmacSha256: SHA })).toEqual({ algorithm: "HMAC-SHA-256", algorithm_id: 99, value: SHA });
    expect(contentHash({ hmacSha256: "x" })).toBeUndefined();
  });
});
