import fc from "fast-check";
import { expect, test } from "vitest";
import { openAuditLog } from "../../src/audit/log.ts";
import { redact } from "../../src/audit/redact.ts";
import { createKnownSecrets } from "../../src/egress/hide.ts";
import { onlyChain, recordsOf, scratch } from "../support/audit.ts";
import { intent } from "../support/audit-bodies.ts";

/** Ordinary words: nothing that a rule would know by its form. */
const VALUE = 'correct "horse" & battery/staple+1';

function knowing(...values: string[]) {
  const known = createKnownSecrets();
  for (const value of values) known.add("VAULT_WORDS", value);
  return known;
}

test.each([
  ["as it is", VALUE],
  ["in JSON", JSON.stringify(VALUE).slice(1, -1)],
  ["in a URL", encodeURIComponent(VALUE)],
  ["in a form", new URLSearchParams({ a: VALUE }).toString().slice(2)],
  ["in base64", Buffer.from(VALUE).toString("base64")],
  ["in base64 behind a user's name", Buffer.from(`ada:${VALUE}`).toString("base64")],
  ["in base64url in the middle", Buffer.from(`xx${VALUE}yy`).toString("base64url")],
  ["in hexadecimal", Buffer.from(VALUE).toString("hex")],
  ["in hexadecimal in capitals", Buffer.from(VALUE).toString("hex").toUpperCase()],
])("a value that was read is replaced %s", (_how, written) => {
  const kept = knowing(VALUE).hide(`echo ${written} | x`);
  expect(kept).toMatch(/^echo .{0,6}\[redacted:VAULT_WORDS\].{0,6} \| x$/);
  expect(kept).not.toContain(written);
});

test("wherever it stands in a record, and as the key of a value", () => {
  const { hide } = knowing(VALUE);
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), fc.string({ unit: "binary" }), fc.nat(3), (before, after, place) => {
      const text = `${before}${VALUE}${after}`;
      const kept = redact([text, { a: [text] }, { [text]: 1 }, { argv: ["x", text] }][place], { hide });
      expect(JSON.stringify(kept)).not.toContain("battery");
      expect(redact(kept, { hide })).toEqual(kept);
    }),
  );
});

test("what overlaps is replaced as one, and what is no value stays", () => {
  const known = knowing("abcdefgh", "efghijkl");
  expect(known.hide("x abcdefghijkl x")).toBe("x [redacted:VAULT_WORDS] x");
  expect(known.hide("abcdefg ijkl")).toBe("abcdefg ijkl");
});

test("of a secret that is another one each time, the latest values are known", () => {
  const values = Array.from({ length: 100 }, (_, n) => `value-number-${n}-`);
  const known = knowing(...values);
  expect(known.hide(values.at(-1) ?? "")).toBe("[redacted:VAULT_WORDS]");
  expect(known.hide(values.at(-8) ?? "")).toBe("[redacted:VAULT_WORDS]");
  expect(known.hide(values[0] ?? "")).toBe(values[0]);
});

test("the log never has a value that was read", async () => {
  const directory = scratch();
  {
    await using log = await openAuditLog({ directory, gateway: "gw-test", hide: knowing(VALUE).hide });
    await log.append(intent("call-1", { argv: ["curl", "-d", VALUE], cwd: "/workspace" }));
  }
  const [record] = recordsOf(onlyChain(directory));
  expect(record?.body).toMatchObject({ arguments: { argv: ["curl", "-d", "[redacted:VAULT_WORDS]"] } });
});
