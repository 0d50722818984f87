import { chmodSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { signEnvelope } from "../../src/policy/distribution/dsse.ts";
import { verifyFiles } from "../../src/policy/distribution/manifest.ts";
import { SIGNATURE } from "../../src/policy/read-files.ts";
import { LOCK_SIGNATURE_FILE, readSigners, signersOf, signLock } from "../../src/skill/sign.ts";
import { filesOf, newKey, scratch, signedBy } from "../support/signed-bundle.ts";

const KEY = newKey();
const OTHER = newKey();
const LOCK = Buffer.from("format: 1\nskills: []\n");
const CHANGED = Buffer.from("format: 1\nskills: [] \n");
const SIGNED = Buffer.from(signLock(LOCK, KEY));
const BUNDLE_TYPE = "application/vnd.glovebox.bundle+json";

interface File {
  keys: string[];
  envelope: { payloadType: string; payload: string; signatures: { keyid?: string; sig: string }[] };
}

/** The same file, changed. */
function altered(change: (file: File) => unknown, signed = SIGNED): Buffer {
  const file = JSON.parse(String(signed)) as File;
  return Buffer.from(JSON.stringify(change(file) ?? file));
}

const fileOf = (envelope: string, ...keys: readonly string[]) =>
  Buffer.from(JSON.stringify({ keys, envelope: JSON.parse(envelope) }));

test("a signed lock names who signed it, by the key's fingerprint", () => {
  expect(signersOf(SIGNED, LOCK)).toEqual({ signedBy: [KEY.public.id], problems: [] });
  expect(KEY.public.id).toMatch(/^sha256:[0-9a-f]{64}$/);
});

test("two sign one lock; signatures over what was locked before are not kept", () => {
  const both = Buffer.from(signLock(LOCK, OTHER, SIGNED));
  expect(signersOf(both, LOCK).signedBy).toEqual([KEY.public.id, OTHER.public.id]);
  const again = Buffer.from(signLock(LOCK, KEY, both));
  expect((JSON.parse(String(again)) as File).envelope.signatures).toHaveLength(2);
  expect([...signersOf(again, LOCK).signedBy].sort()).toEqual([KEY.public.id, OTHER.public.id].sort());
  const next = Buffer.from(signLock(CHANGED, OTHER, both));
  expect(signersOf(next, CHANGED)).toEqual({ signedBy: [OTHER.public.id], problems: [] });
  expect(signersOf(next, LOCK).signedBy).toEqual([]);
  expect(signersOf(Buffer.from(signLock(LOCK, KEY, Buffer.from("{"))), LOCK).signedBy).toEqual([KEY.public.id]);
});

test.each<[string, Buffer, RegExp]>([
  ["a key that did not sign", altered((it) => ({ ...it, keys: [OTHER.public.line] })), /none of its signatures holds/],
  [
    "another key that did not sign, with the id of one that did",
    altered((it) => ({
      keys: [OTHER.public.line],
      envelope: {
        ...it.envelope,
        signatures: it.envelope.signatures.map(({ sig }) => ({ keyid: OTHER.public.id, sig })),
      },
    })),
    /none of its signatures holds/,
  ],
  ["another lock's signature", Buffer.from(signLock(CHANGED, KEY)), /signs something else/],
  [
    "another lock's signature, with this lock put into it",
    altered(
      (it) => ({ ...it, envelope: { ...it.envelope, payload: LOCK.toString("base64") } }),
      Buffer.from(signLock(CHANGED, KEY)),
    ),
    /none of its signatures holds/,
  ],
  ["no key", altered((it) => ({ ...it, keys: [] })), /can't be read/],
  ["no signature", altered((it) => ({ ...it, envelope: { ...it.envelope, signatures: [] } })), /can't be read/],
  [
    "an empty signature",
    altered((it) => ({ ...it, envelope: { ...it.envelope, signatures: [{ sig: "" }] } })),
    /can't be read/,
  ],
  ["a field more", altered((it) => ({ ...it, trusted: true })), /can't be read/],
  [
    "a field more in the envelope",
    altered((it) => ({ ...it, envelope: { ...it.envelope, alg: "none" } })),
    /can't be read/,
  ],
  ["a key of another kind", altered((it) => ({ ...it, keys: ["rsa:AAAA"] })), /can't be read/],
  ["seventeen keys", altered((it) => ({ ...it, keys: Array(17).fill(it.keys[0]) })), /can't be read/],
  ["no JSON", Buffer.from("{"), /can't be read/],
  ["no Unicode", Buffer.from([0xff]), /can't be read/],
  ["nothing", Buffer.alloc(0), /can't be read/],
  ["too much", Buffer.from(`${SIGNED}${" ".repeat(300_000)}`), /can't be read/],
  // A policy bundle's envelope is a file of its own, without keys; and with keys it is of another type.
  ["a policy bundle's envelope", signedBy(KEY, filesOf()).get(SIGNATURE) ?? Buffer.alloc(0), /can't be read/],
  [
    "a policy bundle's envelope, with its key",
    fileOf(String(signedBy(KEY, filesOf()).get(SIGNATURE)), KEY.public.line),
    /signs something else/,
  ],
  [
    "this lock, signed as a policy bundle",
    fileOf(signEnvelope(BUNDLE_TYPE, LOCK, KEY), KEY.public.line),
    /signs something else/,
  ],
  [
    "this lock, signed as a policy bundle, with the right type written on it",
    altered(
      (it) => {
        it.envelope.payloadType = (JSON.parse(String(SIGNED)) as File).envelope.payloadType;
      },
      fileOf(signEnvelope(BUNDLE_TYPE, LOCK, KEY), KEY.public.line),
    ),
    /none of its signatures holds/,
  ],
])("%s vouches for nothing", (_, signature, message) => {
  const { signedBy, problems } = signersOf(signature, LOCK);
  expect(signedBy).toEqual([]);
  expect(problems).toEqual([
    expect.objectContaining({ file: LOCK_SIGNATURE_FILE, message: expect.stringMatching(message) }),
  ]);
});

test("a signature over a lock is none over a policy bundle", () => {
  const files = filesOf();
  const { envelope } = JSON.parse(String(SIGNED)) as File;
  const posing = [envelope, { ...envelope, payloadType: BUNDLE_TYPE }];
  for (const it of posing) {
    const bundle = new Map([...files, [SIGNATURE, Buffer.from(JSON.stringify(it))]]);
    expect(() => verifyFiles(bundle, [KEY.public])).toThrow(expect.objectContaining({ code: "POLICY_SIGNATURE" }));
  }
});

test("no changed bit of a lock or of its signature adds a signer, or keeps one over another lock", () => {
  fc.assert(
    fc.property(fc.boolean(), fc.nat(), fc.integer({ min: 0, max: 7 }), (ofLock, at, bit) => {
      const changed = Buffer.from(ofLock ? LOCK : SIGNED);
      const index = at % changed.length;
      changed[index] = (changed[index] ?? 0) ^ (1 << bit);
      const { signedBy } = ofLock ? signersOf(SIGNED, changed) : signersOf(changed, LOCK);
      // The id beside a signature is a hint that nothing depends on, and JSON may be written with other spaces.
      expect(ofLock ? [] : [[], [KEY.public.id]]).toEqual(ofLock ? signedBy : expect.arrayContaining([signedBy]));
    }),
    { numRuns: 300 },
  );
});

test("whatever is in the file, nobody signed and nothing is thrown", () => {
  const texts = fc.oneof(
    fc.string(),
    fc.json(),
    fc.json().map((it) => `{"keys":["${KEY.public.line}"],"envelope":${it}}`),
  );
  fc.assert(
    fc.property(texts, (text) => {
      expect(signersOf(Buffer.from(text), LOCK)).toMatchObject({ signedBy: [], problems: [{}] });
    }),
  );
});

test("the file beside the lock is read as the lock is: no link, nothing that anybody may write; none is nobody", async () => {
  const directory = scratch();
  expect(await readSigners(directory, LOCK)).toEqual({ signedBy: [], problems: [] });
  const file = join(directory, LOCK_SIGNATURE_FILE);
  writeFileSync(file, SIGNED, { mode: 0o644 });
  expect(await readSigners(directory, LOCK)).toEqual({ signedBy: [KEY.public.id], problems: [] });
  expect(await readSigners(directory, CHANGED)).toMatchObject({
    signedBy: [],
    problems: [{ message: expect.stringMatching(/something else/) }],
  });
  chmodSync(file, 0o666);
  expect(await readSigners(directory, LOCK)).toMatchObject({
    signedBy: [],
    problems: [{ message: "anybody may write it" }],
  });
  const linked = scratch();
  chmodSync(file, 0o644);
  symlinkSync(file, join(linked, LOCK_SIGNATURE_FILE));
  expect(await readSigners(linked, LOCK)).toMatchObject({
    signedBy: [],
    problems: [{ message: "is not a regular file" }],
  });
});
