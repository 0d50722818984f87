import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, onTestFinished, test } from "vitest";
import { openPinoSink } from "../../src/audit/sinks/pino.ts";
import { pinoSchema } from "../../src/audit/sinks/pino-settings.ts";
import type { Batch } from "../../src/audit/sinks/sink.ts";
import { scratch } from "../support/audit.ts";
import { event, intent } from "../support/audit-bodies.ts";
import { batchesOf, batchOf, loggedEntries, sinkPorts } from "../support/sinks.ts";

const signal = new AbortController().signal;

async function openSink(stated: Record<string, unknown>) {
  const sink = await openPinoSink(pinoSchema.parse({ name: "own", type: "pino", ...stated }), sinkPorts);
  onTestFinished(() => sink[Symbol.asyncDispose]());
  return sink;
}

/** A transport of this source, as an operator would write one. */
function transportOf(source: string): string {
  const file = join(scratch(), "transport.mjs");
  writeFileSync(file, source, { mode: 0o644 });
  return file;
}

interface Line {
  readonly level: number;
  readonly time: number;
  readonly msg: string;
  readonly id: string;
  readonly record: { readonly hash: string };
}

const linesIn = (file: string): Line[] =>
  readFileSync(file, "utf8")
    .split("\n")
    .filter((it) => it !== "")
    .map((it) => JSON.parse(it));

test("records arrive in pino's own file transport, as they stand in the log", async () => {
  const destination = join(scratch(), "out.jsonl");
  const sink = await openSink({ target: "pino/file", options: { destination } });
  const entries = await loggedEntries([
    { ...intent("call-1"), decision: "deny" },
    ...[1, 2, 3].map((n) => event({ n })),
    event({}, "logging-failed"),
    event({}, "logging-recovered"),
  ]);
  for (const batch of batchesOf(entries, 2)) {
    await sink.deliver(batch, signal);
    // Confirmed is written: nothing has to be awaited.
    expect(linesIn(destination).at(-1)?.record).toEqual(batch.entries.at(-1)?.record);
  }
  const lines = linesIn(destination);
  expect(lines.map(({ record }) => record)).toEqual(entries.map(({ record }) => record));
  expect(lines.map(({ level }) => level)).toEqual([40, 30, 30, 30, 40, 30]);
  expect(lines[0]).toMatchObject({ msg: "audit: intent", time: Date.parse(entries[0]?.record.time ?? "") });
});

test("half a line that stayed in the file takes no record with it", async () => {
  const destination = join(scratch(), "out.jsonl");
  const entries = await loggedEntries([1, 2, 3, 4, 5, 6].map((n) => event({ n })));
  const [first, second, third] = batchesOf(entries, 2);
  if (!first || !second || !third) throw new Error("there are three batches");
  const settings = pinoSchema.parse({ name: "own", type: "pino", target: "pino/file", options: { destination } });
  const tear = () => truncateSync(destination, statSync(destination).size - 20);
  const records = () => {
    const lines = readFileSync(destination, "utf8").split("\n");
    expect(lines.pop(), "the end of the last line").toBe("");
    return lines.map((it): string => (it.endsWith("}}") ? JSON.parse(it).id : "half a line"));
  };
  const idsOf = ({ entries: of }: Batch) => of.map(({ record }) => `${record.chain}/${record.seq}`);
  {
    await using sink = await openPinoSink(settings, sinkPorts);
    await sink.deliver(first, signal);
  }
  // As a gateway that is killed leaves it.
  tear();
  const [whole = ""] = idsOf(first);
  {
    await using sink = await openPinoSink(settings, sinkPorts);
    await sink.deliver(first, signal);
    await sink.deliver(second, signal);
    expect(records()).toEqual([whole, "half a line", ...idsOf(first), ...idsOf(second)]);
    // As a transport that is ended leaves it.
    const aborting = new AbortController();
    const given = expect(sink.deliver(third, aborting.signal)).rejects.toThrow("enough");
    aborting.abort(new Error("enough"));
    await given;
    tear();
    await sink.deliver(third, signal);
  }
  expect(records().slice(-3)).toEqual(["half a line", ...idsOf(third)]);
  const before = records();
  await using sink = await openPinoSink(settings, sinkPorts);
  await sink.deliver(first, signal);
  expect(records(), "no empty line behind a whole one").toEqual([...before, ...idsOf(first)]);
});

test("pino/file without a file is refused: standard output is the MCP client's", () => {
  for (const options of [{}, { destination: 1 }]) {
    expect(pinoSchema.safeParse({ name: "own", type: "pino", target: "pino/file", options }).success).toBe(false);
  }
});

test("a transport made with pino's own library, which waits for pino's configuration, gets all records", async () => {
  const library = pathToFileURL(
    createRequire(createRequire(import.meta.url).resolve("pino")).resolve("pino-abstract-transport"),
  );
  const out = join(scratch(), "out.jsonl");
  const target = transportOf(`
    import { appendFileSync } from "node:fs";
    import build from ${JSON.stringify(library.href)};
    export default (options) => build(async (source) => {
      for await (const it of source) appendFileSync(options.out, JSON.stringify(it) + "\\n");
    }, { expectPinoConfig: true });
  `);
  const entries = await loggedEntries(Array.from({ length: 200 }, (_, n) => event({ n, text: "x".repeat(500) })));
  {
    await using sink = await openPinoSink(
      pinoSchema.parse({ name: "own", type: "pino", target, options: { out } }),
      sinkPorts,
    );
    for (const batch of batchesOf(entries, 40)) await sink.deliver(batch, signal);
  }
  expect(linesIn(out).map(({ id }) => id)).toEqual(entries.map(({ record }) => `${record.chain}/${record.seq}`));
});

/** Keeps lines in memory until it is flushed, and writes them to `out` then. What is given goes wrong once, when the file `<out>.bad` is there. */
const KEEPS = (whenWritten: string, whenFlushed = "") => `
  import { appendFileSync, existsSync, rmSync } from "node:fs";
  import { Writable } from "node:stream";
  export default ({ out }) => {
    let kept = "";
    const bad = () => existsSync(out + ".bad") && (rmSync(out + ".bad"), true);
    const stream = new Writable({
      write(chunk, _encoding, done) {
        kept += chunk;
        ${whenWritten}
        done();
      },
      final(done) { appendFileSync(out, kept); kept = ""; done(); },
    });
    stream.flush = (done) => setImmediate(() => { ${whenFlushed} appendFileSync(out, kept); kept = ""; done(); });
    return stream;
  };
`;

// A thread that ends may do so before its last words are heard.
test.each([
  ["fails", `if (bad()) { done(new Error("out of paper")); return; }`, /out of paper|it ended/],
  ["throws", `if (bad()) throw new Error("out of paper");`, /out of paper|it ended/],
  ["ends the process that it takes for its own", `if (bad()) process.exit(0);`, /it ended/],
  ["goes round in circles", `if (bad()) for (;;);`, /no answer for 1 s/],
  ["never confirms", "", /no answer for 1 s/, `if (bad()) return;`],
  ["can't write what it has taken", "", /out of paper|it ended/, `if (bad()) return done(new Error("out of paper"));`],
])(
  "a transport that %s fails the delivery, and another one takes the batch",
  async (_how, whenWritten, message, whenFlushed = "") => {
    const out = join(scratch(), "out.jsonl");
    const target = transportOf(KEEPS(whenWritten, whenFlushed));
    const sink = await openSink({ target, options: { out }, timeoutSeconds: 1 });
    const [first, second] = batchesOf(await loggedEntries([1, 2, 3, 4].map((n) => event({ n }))), 2);
    if (!first || !second) throw new Error("there are two batches");
    // The first start of a thread may take longer than the second that is allowed here.
    await expect
      .poll(
        () =>
          sink.deliver(first, signal).then(
            () => true,
            () => false,
          ),
        { timeout: 30_000 },
      )
      .toBe(true);
    writeFileSync(`${out}.bad`, "");
    await expect(sink.deliver(second, signal)).rejects.toThrow(message);
    await expect
      .poll(
        () =>
          sink.deliver(second, signal).then(
            () => true,
            () => false,
          ),
        { timeout: 30_000 },
      )
      .toBe(true);
    const ids = new Set(linesIn(out).map(({ id }) => id));
    expect([...ids]).toEqual(
      [...first.entries, ...second.entries].map(({ record }) => `${record.chain}/${record.seq}`),
    );
  },
);

test("a delivery that is given up, and a sink that is closed, wait for no transport", async () => {
  const out = join(scratch(), "out.jsonl");
  writeFileSync(`${out}.bad`, "");
  const target = transportOf(KEEPS("", "if (bad()) return;"));
  const sink = await openPinoSink(pinoSchema.parse({ name: "own", type: "pino", target, options: { out } }), sinkPorts);
  const batch = batchOf(await loggedEntries([event({})]));
  const aborting = new AbortController();
  const given = expect(sink.deliver(batch, aborting.signal)).rejects.toThrow("enough");
  await expect.poll(() => existsSync(`${out}.bad`)).toBe(false);
  aborting.abort(new Error("enough"));
  await given;
  writeFileSync(`${out}.bad`, "");
  const closed = expect(sink.deliver(batch, signal)).rejects.toMatchObject({ code: "SHUTTING_DOWN" });
  await expect.poll(() => existsSync(`${out}.bad`)).toBe(false);
  await sink[Symbol.asyncDispose]();
  await closed;
});

test("what a transport prints does not get to standard output", async () => {
  const out = join(scratch(), "out.jsonl");
  const target = transportOf(KEEPS(`console.log("not for MCP");`));
  const written: unknown[] = [];
  const write = process.stdout.write.bind(process.stdout);
  process.stdout.write = ((chunk: unknown) => written.push(chunk) > 0) as typeof process.stdout.write;
  onTestFinished(() => {
    process.stdout.write = write;
  });
  {
    await using sink = await openPinoSink(
      pinoSchema.parse({ name: "own", type: "pino", target, options: { out } }),
      sinkPorts,
    );
    await sink.deliver(batchOf(await loggedEntries([event({})])), signal);
  }
  process.stdout.write = write;
  expect(written.join("")).not.toContain("not for MCP");
});

test("a transport that others could change is refused, also by a folder above it and behind a link", async () => {
  const directory = scratch();
  const folder = join(directory, "open");
  mkdirSync(folder);
  const file = join(folder, "transport.mjs");
  writeFileSync(file, KEEPS(""), { mode: 0o644 });
  const link = join(directory, "link.mjs");
  symlinkSync(file, link);
  await openSink({ target: file });
  chmodSync(file, 0o666);
  await expect(openSink({ target: link })).rejects.toThrow(/transport\.mjs`.* may be written by others.*chmod go-w/);
  chmodSync(file, 0o644);
  chmodSync(folder, 0o777);
  await expect(openSink({ target: link })).rejects.toThrow(/open`, where the transport .* may be written by others/);
});

test("a transport that is not there is refused when the sink is opened", async () => {
  await expect(openSink({ target: "/nowhere/transport.mjs" })).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  await expect(openSink({ target: "no-such-package-of-mine" })).rejects.toThrow(
    /no package .*install it beside Glovebox/,
  );
  for (const target of ["./transport.mjs", "../transport.mjs", "file:///transport.mjs", "a/../b"]) {
    expect(pinoSchema.safeParse({ name: "own", type: "pino", target }).success).toBe(false);
  }
});
