import { chmodSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { openEnvelope, preAuthenticationEncoding, signEnvelope } from "../../src/policy/distribution/dsse.ts";
import { readPrivateKey, readPublicKey, writeNewKey } from "../../src/policy/distribution/keys.ts";
import { signFiles, verifyFiles } from "../../src/policy/distribution/manifest.ts";
import type { BundleFiles } from "../../src/policy/read-files.ts";
import { filesOf, newKey, scratch, signedBy } from "../support/signed-bundle.ts";

const KEY = newKey();
const OTHER = newKey();
const TYPE = "application/vnd.glovebox.bundle+json";
const SIGNED = signedBy(KEY, filesOf());
const with_ = (name: string, content: string) => new Map([...SIGNED, [name, Buffer.from(content)]]);
const without = (name: string) => new Map([...SIGNED].filter(([it]) => it !== name));

interface Envelope {
  payloadType: string;
  payload: string;
  signatures: { keyid?: string; sig: string }[];
}

/** The same files with the envelope changed. */
function altered(change: (envelope: Envelope) => unknown, files: BundleFiles = SIGNED): BundleFiles {
  const envelope = JSON.parse(String(files.get("bundle.dsse.json"))) as Envelope;
  const changed = change(envelope) ?? envelope;
  return new Map([...files, ["bundle.dsse.json", Buffer.from(JSON.stringify(changed))]]);
}

/** Signed properly, but not by our own code. */
function signedList(list: unknown, type = TYPE): BundleFiles {
  return with_("bundle.dsse.json", signEnvelope(type, Buffer.from(JSON.stringify(list)), KEY));
}

function listOf(): Record<string, unknown> & { files: Record<string, string> } {
  const { payload } = JSON.parse(String(SIGNED.get("bundle.dsse.json"))) as Envelope;
  return JSON.parse(Buffer.from(payload, "base64").toString());
}

test("what is signed is DSSE's encoding, by the specification's own example", () => {
  const encoded = preAuthenticationEncoding("http://example.com/HelloWorld", Buffer.from("hello world"));
  expect(encoded.toString()).toBe("DSSEv1 29 http://example.com/HelloWorld 11 hello world");
});

test("what was signed verifies, with or without a README, and says who signed it", () => {
  const verified = verifyFiles(SIGNED, [OTHER.public, KEY.public]);
  expect(verified).toMatchObject({ name: "acme", version: "1.0.0", signedBy: [KEY.public.id] });
  expect(verified.digest).toMatch(/^sha256:[0-9a-f]{64}$/);
  const { files, digest } = verifyFiles(with_("README.md", "not signed"), [KEY.public]);
  expect(digest).toBe(verified.digest);
  expect([...files.keys()]).not.toContain("README.md");
});

test("two keys sign one bundle; a signature over what was there before is not kept", () => {
  const both = signedBy(OTHER, SIGNED);
  expect(verifyFiles(both, [OTHER.public, KEY.public]).signedBy).toEqual([OTHER.public.id, KEY.public.id]);
  expect(verifyFiles(both, [KEY.public]).signedBy).toEqual([KEY.public.id]);
  const again = signedBy(KEY, both);
  expect(JSON.parse(String(again.get("bundle.dsse.json"))).signatures).toHaveLength(2);
  const changed = signedBy(OTHER, new Map([...SIGNED, ["rules.cedar", Buffer.from("// other\n")]]));
  expect(() => verifyFiles(changed, [KEY.public])).toThrow(/none of its signatures/);
});

const zeroSignature = Buffer.alloc(64).toString("base64");
test.each<[string, BundleFiles, RegExp]>([
  ["another key's", signedBy(OTHER, filesOf()), /none of its signatures is by a key that is trusted/],
  ["a changed file", with_("rules.cedar", "permit (principal, action, resource);\n"), /`rules.cedar` is another/],
  ["a changed manifest", with_("bundle.yaml", "name: acme\nversion: 9.0.0\n"), /`bundle.yaml` is another/],
  ["a file more", with_("more.cedar", ""), /`more.cedar` was not signed/],
  ["a file less", without("rules.cedar"), /`rules.cedar` is missing/],
  [
    "a file by another name",
    new Map([...without("rules.cedar"), ["z.cedar", SIGNED.get("rules.cedar") ?? Buffer.alloc(0)]]),
    /`rules.cedar` is missing, `z.cedar` was not signed/,
  ],
  ["no signature", without("bundle.dsse.json"), /not signed/],
  ["no JSON", with_("bundle.dsse.json", "{"), /envelope can't be read/],
  ["too large an envelope", with_("bundle.dsse.json", " ".repeat(300_000)), /envelope can't be read/],
  ["no signatures", altered((it) => ({ ...it, signatures: [] })), /envelope can't be read/],
  ["a field more", altered((it) => ({ ...it, alg: "none" })), /envelope can't be read/],
  [
    "a hundred signatures",
    altered((it) => ({ ...it, signatures: Array(100).fill(it.signatures[0]) })),
    /envelope can't be read/,
  ],
  ["an empty signature", altered((it) => ({ ...it, signatures: [{ sig: "" }] })), /envelope can't be read/],
  ["a signature of noughts", altered((it) => ({ ...it, signatures: [{ sig: zeroSignature }] })), /none of its/],
  [
    "a trusted key's id above another's signature",
    altered(
      (it) => ({ ...it, signatures: [{ ...it.signatures[0], keyid: KEY.public.id }] }),
      signedBy(OTHER, filesOf()),
    ),
    /none of its signatures/,
  ],
  [
    "a changed list",
    altered((it) => ({
      ...it,
      payload: Buffer.from(JSON.stringify({ ...listOf(), version: "2.0.0" })).toString("base64"),
    })),
    /none of its signatures/,
  ],
  ["another type", altered((it) => ({ ...it, payloadType: "application/json" })), /not one of application\/vnd/],
  ["a signature over another type", signedList(listOf(), "application/json"), /not one of application\/vnd/],
  [
    "a signature over another type, with the right one written on it",
    altered((it) => ({ ...it, payloadType: TYPE }), signedList(listOf(), "application/json")),
    /none of its signatures/,
  ],
  ["a list with a field more", signedList({ ...listOf(), expires: 1 }), /list of files can't be read/],
  ["a list of the next format", signedList({ ...listOf(), format: 2 }), /list of files can't be read/],
  ["a list with a version that can't be ordered", signedList({ ...listOf(), version: "1" }), /can't be read/],
  [
    "a list with another version than the bundle",
    signedList({ ...listOf(), version: "2.0.0" }),
    /another name, version or layer than bundle.yaml/,
  ],
  ["a list with another layer", signedList({ ...listOf(), layer: "team" }), /another name, version or layer/],
  [
    "a list with a path",
    signedList({ ...listOf(), files: { ...listOf().files, "../x.cedar": "0".repeat(64) } }),
    /can't be read/,
  ],
])("%s is refused", (_, files, message) => {
  expect(() => verifyFiles(files, [KEY.public])).toThrow(
    expect.objectContaining({
      code: expect.stringMatching(/^POLICY_(UNSIGNED|SIGNATURE)$/),
      message: expect.stringMatching(message),
    }),
  );
});

test("nothing verifies when no key is trusted [G28]", () => {
  expect(() => verifyFiles(SIGNED, [])).toThrow(/none of its signatures/);
});

test("no single changed bit of an envelope or of a file goes unnoticed [G28]", () => {
  const digest = verifyFiles(SIGNED, [KEY.public]).digest;
  const signed = [...SIGNED].map(([name, content]) => ({ name, content }));
  fc.assert(
    fc.property(fc.constantFrom(...signed), fc.nat(), fc.integer({ min: 0, max: 7 }), ({ name, content }, at, bit) => {
      const changed = Buffer.from(content);
      const index = at % changed.length;
      changed[index] = (changed[index] ?? 0) ^ (1 << bit);
      const files = new Map([...SIGNED, [name, changed]]);
      // The key's id is a hint that nothing depends on, and JSON may be written with other spaces.
      try {
        expect(verifyFiles(files, [KEY.public]).digest).toBe(digest);
        expect(name).toBe("bundle.dsse.json");
      } catch (error) {
        expect(error).toMatchObject({ code: "POLICY_SIGNATURE" });
      }
    }),
    { numRuns: 300 },
  );
});

test("whatever is in an envelope, it is refused and nothing else happens", () => {
  const texts = fc.oneof(
    fc.string(),
    fc.json(),
    fc
      .record({
        payloadType: fc.constant(TYPE),
        payload: fc.string(),
        signatures: fc.array(fc.record({ sig: fc.string() })),
      })
      .map((it) => JSON.stringify(it)),
  );
  fc.assert(
    fc.property(texts, (text) => {
      expect(() => openEnvelope(Buffer.from(text), TYPE, [KEY.public])).toThrow(
        expect.objectContaining({ code: "POLICY_SIGNATURE" }),
      );
    }),
  );
});

test.each(["01.2.3", "v1.2.3", "1.2", "1.2.3+", "1.2.3-", "1.2.3+a b", "99999999999999999999.0.0"])(
  "%j can't be ordered, and is not signed",
  (version) => {
    expect(() => signFiles(filesOf({ version: JSON.stringify(version) }), KEY)).toThrow(
      /a version as semver.org has it/,
    );
  },
);

test("a new pair of keys: the private one for its owner only, and no file is ever written over", async () => {
  const file = join(scratch(), "k");
  const half = await writeNewKey(file);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(readFileSync(`${file}.pub`, "utf8")).toBe(`${half.line}\n`);
  const read = await readPrivateKey(file);
  expect(read.public.line).toBe(half.line);
  expect((await readPublicKey(`${file}.pub`)).id).toBe(half.id);
  expect((await readPublicKey(half.line)).id).toBe(half.id);
  await expect(writeNewKey(file)).rejects.toThrow(/exists already/);
  for (const mode of [0o640, 0o604, 0o660]) {
    chmodSync(file, mode);
    await expect(readPrivateKey(file)).rejects.toThrow(/others may read.*chmod 600/);
  }
});

test("what is no key is told, and never quoted", async () => {
  const file = join(scratch(), "k");
  const write = (text: string) => writeFileSync(file, text, { mode: 0o600 });
  for (const text of ["", "secret words", "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"]) {
    write(text);
    await expect(readPrivateKey(file)).rejects.toMatchObject({
      code: "POLICY_KEY",
      message: expect.not.stringContaining("secret"),
    });
  }
  for (const line of [
    "ed25519:AAAA",
    `ed25519:${Buffer.alloc(33).toString("base64")}`,
    // A second spelling of 32 bytes of nought.
    `ed25519:${"A".repeat(42)}B=`,
  ]) {
    await expect(readPublicKey(line)).rejects.toMatchObject({ code: "POLICY_KEY" });
  }
  await expect(readPublicKey("/nonexistent")).rejects.toThrow(/there is no file/);
});
