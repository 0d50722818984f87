import { Duplex, Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import fc from "fast-check";
import { expect, test } from "vitest";
import { agentContainer } from "../../src/container/agent-container.ts";
import type { TreeEntry } from "../../src/container/container.ts";
import type { Machine } from "../../src/engine/engine.ts";
import { GatewayError } from "../../src/errors.ts";
import { encodeTar, plainHeader, type TarHeader } from "../../src/lib/tar-write.ts";

/** The gateway's side of trees, against a guest that says anything. The real one is tested in contract/. */
const forever = new AbortController().signal;
const LIMITS = { maxEntries: 5, maxBytes: 1_000, prune: [] };

/** A machine whose agent answers each question with these bytes, and takes what it is sent. */
function answering(pieces: readonly Uint8Array[]) {
  const condemned: string[] = [];
  const taken: Buffer[] = [];
  const machine: Pick<Machine, "connect" | "signal" | "lost" | "condemn"> = {
    lost: new AbortController().signal,
    condemn: ({ code }) => void condemned.push(code),
    signal: async () => undefined,
    connect: () => {
      const left = [...pieces];
      return new Duplex({
        write: (chunk: Buffer, _encoding, done) => {
          taken.push(chunk);
          done();
        },
        read() {
          this.push(left.shift() ?? null);
        },
      });
    },
  };
  return { container: agentContainer("c", machine as Machine), condemned, taken };
}

function frame(type: number, payload: string | Uint8Array): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt8(type);
  header.writeUInt32BE(Buffer.byteLength(payload), 4);
  return Buffer.concat([header, Buffer.from(payload)]);
}

const message = (value: unknown) => frame(3, JSON.stringify(value));
const done = message({ done: true });
const failed = (code: string) => message({ failed: { code, path: "/workspace/x", kind: "", target: "" } });

async function tar(entries: readonly (Partial<TarHeader> & { path: string; text?: string })[]): Promise<Buffer> {
  const inputs = entries.map(({ text = "", ...header }) => ({
    ...plainHeader(header.path, { size: text.length, ...header }),
    content: [Buffer.from(text)],
  }));
  return await buffer(Readable.from(encodeTar(inputs)));
}

/** What comes of an export: its entries, with files' contents, or the code of its error. */
async function exported(pieces: readonly Uint8Array[], made = answering(pieces)): Promise<unknown> {
  const found: unknown[] = [];
  try {
    for await (const entry of made.container.exportTree("/workspace/x", LIMITS, forever)) {
      const text = entry.kind === "file" ? (await buffer(Readable.from(entry.content))).toString() : entry.kind;
      found.push([entry.name, text]);
    }
    return found;
  } catch (error) {
    expect(error).toBeInstanceOf(GatewayError);
    return (error as GatewayError).code;
  }
}

test("an archive is taken apart, however it is cut", async () => {
  const archive = await tar([
    { path: "./", type: "directory" },
    { path: "d/", type: "directory" },
    { path: `d/${"n".repeat(200)}`, text: "long" },
    { path: "l", type: "symlink", linkname: "/etc/passwd" },
    { path: "p", type: "fifo" },
  ]);
  const whole = [
    ["", "directory"],
    ["d", "directory"],
    [`d/${"n".repeat(200)}`, "long"],
    ["l", "link"],
    ["p", "other"],
  ];
  const stream = Buffer.concat([frame(1, archive), done]);
  expect(await exported([stream])).toEqual(whole);
  expect(await exported(Array.from(stream, (_, at) => stream.subarray(at, at + 1)))).toEqual(whole);
});

test.each<[string, Parameters<typeof tar>[0]]>([
  ["a name that climbs", [{ path: "../x", text: "x" }]],
  ["a name that climbs further down", [{ path: "a/../../x", text: "x" }]],
  ["an absolute name", [{ path: "/etc/passwd", text: "x" }]],
  ["an empty part", [{ path: "a//b", text: "x" }]],
  ["a dot", [{ path: "a/./b", text: "x" }]],
  ["a name that is too long", [{ path: "d/".repeat(3_000), type: "directory" }]],
  ["more entries than were asked for", Array.from({ length: 6 }, (_, it) => ({ path: `${it}` }))],
  ["more bytes than were asked for", [{ path: "a", text: "x".repeat(1_001) }]],
])("%s ends the machine [G13]", async (_name, entries) => {
  const made = answering([frame(1, await tar(entries)), done]);
  expect(await exported([], made)).toBe("CHANNEL_VIOLATION");
  expect(made.condemned).toEqual(["CHANNEL_VIOLATION"]);
});

test.each<[string, Buffer[], string]>([
  ["no archive", [frame(1, Buffer.alloc(1_024, "x")), done], "CHANNEL_VIOLATION"],
  [
    "a description of a file",
    [message({ entry: { kind: "file", sizeBytes: 0, mode: 0, modifiedMs: 0, target: "" } })],
    "CHANNEL_VIOLATION",
  ],
  ["nothing", [], "MACHINE_LOST"],
])("%s is not believed", async (_name, frames, code) => {
  const made = answering(frames);
  expect(await exported([], made)).toBe(code);
  expect(made.condemned).toEqual([code]);
});

test.each([
  ["TOO_MANY", "TRANSFER_TOO_LARGE"],
  ["TOO_LARGE", "TRANSFER_TOO_LARGE"],
  ["TOO_DEEP", "TRANSFER_TOO_LARGE"],
  ["CHANGED", "FILE_CHANGED"],
  ["ENOSPC", "DISK_FULL"],
  ["ENOENT", "FILE_NOT_FOUND"],
  ["EIO", "CONTAINER_FAILED"],
])("a guest that gives up with %s in the middle is heard, and ends no machine", async (said, code) => {
  const half = (await tar([{ path: "a", text: "x".repeat(900) }])).subarray(0, 1_000);
  const made = answering([frame(1, half), failed(said)]);
  expect(await exported([], made)).toBe(code);
  expect(made.condemned).toEqual([]);
  const importing = answering([failed(said)]);
  await expect(importing.container.importTree("/workspace/x", files(3), forever)).rejects.toMatchObject({ code });
  expect(importing.condemned).toEqual([]);
});

async function* files(count: number): AsyncGenerator<TreeEntry> {
  for (let at = 0; at < count; at += 1) {
    yield { kind: "file", name: `f${at}`, executable: false, sizeBytes: 1, content: [Buffer.from("x")] };
  }
}

test("an import that is not answered is a lost machine; one that breaks off has no end mark", async () => {
  const silent = answering([]);
  await expect(silent.container.importTree("/workspace/x", files(1), forever)).rejects.toMatchObject({
    code: "MACHINE_LOST",
  });
  const whole = answering([done]);
  await whole.container.importTree("/workspace/x", files(1), forever);
  expect(Buffer.concat(whole.taken).toString("latin1").endsWith("\0.")).toBe(true);
  const own = new GatewayError("FILE_CHANGED");
  const broken = answering([done]);
  async function* source(): AsyncGenerator<TreeEntry> {
    yield* files(1);
    throw own;
  }
  await expect(broken.container.importTree("/workspace/x", source(), forever)).rejects.toBe(own);
  expect(Buffer.concat(broken.taken).toString("latin1").endsWith(".")).toBe(false);
  expect(broken.condemned).toEqual([]);
});

test("whatever comes ends in entries or one of our errors, and soon", async () => {
  const valid = await tar([
    { path: "a", text: "abc" },
    { path: "b/", type: "directory" },
  ]);
  const spoilt = fc.tuple(fc.nat(valid.length - 1), fc.nat(255)).map(([at, byte]) => {
    const archive = Buffer.from(valid);
    archive.writeUInt8(byte, at);
    return frame(1, archive);
  });
  const any = fc.oneof(
    spoilt,
    fc.uint8Array({ maxLength: 600 }).map((it) => frame(1, it)),
    fc.constantFrom(done, failed("EIO"), frame(1, valid)),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(any, { maxLength: 4 }), async (frames) => {
      expect(await exported(frames)).toSatisfy((it) => Array.isArray(it) || typeof it === "string");
    }),
    { numRuns: 500, interruptAfterTimeLimit: 20_000 },
  );
});
