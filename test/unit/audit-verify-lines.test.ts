import { readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { expect, test } from "vitest";
import { checkpointsOf } from "../../src/audit/proof/prove.ts";
import { verifyLog } from "../../src/audit/verify.ts";
import { linesFile, scratch, segments } from "../support/audit.ts";
import { audit } from "../support/audit-command.ts";
import { makeSignedLog, rewriteHistory } from "../support/audit-signed.ts";

const lines = (file: string) => readFileSync(file, "utf8").split("\n").slice(0, -1);
function written(all: readonly string[], name = "received.jsonl"): string {
  const file = join(scratch(), name);
  writeFileSync(file, all.map((it) => `${it}\n`).join(""));
  return file;
}

/** Two signed chains, and checkpoints of both that were kept. */
async function twoChains() {
  const [one, other] = [await makeSignedLog(6), await makeSignedLog(4)];
  const notes = await Promise.all(
    [one, other].map(async ({ chain }) => (await checkpointsOf(chain)).checkpoints.at(-1)?.note),
  );
  const kept = join(scratch(), "kept.txt");
  writeFileSync(kept, notes.join("\n"));
  const keys = join(scratch(), "gateways.yaml");
  const gateways = [one, other].map(({ signer }, at) => ({ name: `laptop ${at + 1}`, keys: [signer.key.line] }));
  writeFileSync(keys, JSON.stringify({ version: 1, gateways }));
  return { one, other, kept, keys };
}

async function verify(...args: string[]) {
  const { status, stdout, stderr } = await audit("verify", "--json", ...args);
  return { status, stderr, ...(stdout && JSON.parse(stdout)) };
}
const kinds = ({ problems }: { problems: readonly { kind: string }[] }) => [...new Set(problems.map((it) => it.kind))];

test("what a receiver has of several chains, mixed, is verified as their directories are", async () => {
  const { one, other, kept, keys } = await twoChains();
  const [first, second] = [lines(linesFile(one.chain)), lines(linesFile(other.chain))];
  const mixed = first.flatMap((line, at) => [line, ...second.slice(at, at + 1)]);
  const answer = await verify(written(mixed), "--keys", keys, "--checkpoints", kept);
  expect(answer).toMatchObject({ status: 0, chains: 2, records: first.length + second.length, problems: [] });
  expect(answer.gateways).toEqual({ [basename(one.chain)]: "laptop 1", [basename(other.chain)]: "laptop 2" });
});

test("what was delivered again counts once, and something else in its place does not pass", async () => {
  const { one } = await twoChains();
  const all = lines(linesFile(one.chain));
  const again = [...all.slice(0, 5), ...all.slice(2, 7), ...all.slice(3)];
  expect(await verify(written(again))).toMatchObject({ status: 0, records: all.length });
  rewriteHistory(one.chain, (body) => (body.kind === "outcome" ? { ...body, durationMs: 6 } : body));
  const changed = lines(linesFile(one.chain));
  expect(kinds(await verify(written([...all.slice(0, 6), ...changed])))).toEqual(
    expect.arrayContaining(["sequence", "root"]),
  );
});

test("a record that is missing, damaged, or stands elsewhere is found with its line", async () => {
  const { one, other } = await twoChains();
  const [all, others] = [lines(linesFile(one.chain)), lines(linesFile(other.chain))];
  const problems = async (changed: readonly string[]) =>
    (await verifyLog(written(changed))).problems.map(({ kind, line }) => `${kind} ${line}`);
  expect(await problems([...all.slice(0, 3), ...all.slice(4)])).toContain("sequence 4");
  expect(await problems(all.slice(1))).toContain("sequence 1");
  expect(await problems(all.with(2, "{"))).toEqual(expect.arrayContaining(["syntax 3"]));
  expect(await problems(["no record", ...all])).toEqual(["syntax 1"]);
  expect(await problems([...others, "", ...all])).toEqual([]);
  const [, middle = ""] = segments(one.chain);
  expect(await problems(lines(join(one.chain, middle)))).toEqual(["segment 0"]);
  expect(await problems([...all.slice(0, 2), String(all[4]), ...all.slice(2)])).toContain("sequence 3");
});

test("checkpoints that were kept are compared with a file too: one that ends before them, or lacks a chain, is not whole", async () => {
  const { one, other, kept } = await twoChains();
  const file = linesFile(one.chain, other.chain);
  expect(await verify(file, "--checkpoints", kept)).toMatchObject({ status: 0 });
  const cut = lines(linesFile(one.chain)).slice(0, 5);
  for (const name of ["received.jsonl", "000001.jsonl"]) {
    const answer = await verify(written(cut, name), "--checkpoints", kept);
    expect([answer.status, kinds(answer)]).toEqual([1, ["missing"]]);
  }
  const alone = await verify(linesFile(one.chain), "--checkpoints", kept);
  expect(alone.problems).toMatchObject([{ chain: basename(other.chain), kind: "missing" }]);
  // Of a segment that is not the first nobody can say what is missing, and that nothing was compared is said.
  const [, middle = ""] = segments(one.chain);
  expect(await verify(join(one.chain, middle), "--checkpoints", kept)).toMatchObject({ status: 1, incomparable: 1 });
});

test("several files are not compared with checkpoints as if they had been", async () => {
  const { one, other, kept } = await twoChains();
  const answer = await verify(linesFile(one.chain), linesFile(other.chain), "--checkpoints", kept);
  expect(answer).toMatchObject({ status: 1, stderr: expect.stringContaining("verify the files one by one") });
});
