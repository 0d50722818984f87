import { isUtf8 } from "node:buffer";
import { z } from "zod";
import { GatewayError } from "../errors.ts";
import { capability } from "./capability.ts";
import { octal, path, sessionId, targetPath, WORKSPACE } from "./fields.ts";
import { stat } from "./lookup.ts";
import { missingProgram } from "./missing-program.ts";
import { oneLine, present, readable } from "./render.ts";
import { type ScanEnd, scan } from "./scan.ts";

/** So many entries are looked at, to be sorted, before the listing is cut. */
const MAX_SCANNED = 20_000;
const MAX_FIELD_BYTES = 4_096;
/** Each entry is so many fields, each ended by a NUL, which no name can hold. */
const FORMAT = "%y\\0%m\\0%s\\0%T@\\0%P\\0%l\\0";
const FIELDS = 6;
/** Stands for a field that is too long; not UTF-8, so that a name is marked as inexact. */
const TOO_LONG = Buffer.of(0xff);

const entry = z.strictObject({
  name: z.string().describe("Below the listed directory."),
  kind: z.enum(["file", "directory", "link", "other"]),
  sizeBytes: z.number(),
  mode: z.string(),
  modified: z.string(),
  target: z.string().optional().describe("Of a link."),
  inexact: z.boolean().optional().describe("The name is not UTF-8; invalid bytes are replaced."),
});
type Entry = z.output<typeof entry>;

export const listDirectory = capability({
  name: "listDirectory",
  description: "List a directory of the sandbox, hidden entries too, sorted by name. Links are not followed.",
  annotations: { title: "List a directory", readOnly: true, destructive: false, idempotent: true, openWorld: false },
  input: z.strictObject({
    path: path.default(WORKSPACE).describe("Absolute, or relative to /workspace."),
    depth: z.int().min(1).max(16).default(1).describe("Levels of directories to list."),
    limit: z.int().min(1).max(5_000).default(500).describe("Most entries."),
    sessionId,
  }),
  output: z.strictObject({
    path: z.string(),
    entries: z.array(entry),
    truncated: z.boolean().describe("Whether there are more."),
    problem: z.string().optional().describe("What could not be listed."),
  }),
  describe: (args) => {
    const target = targetPath(args.path);
    const { depth } = args;
    return { resource: { type: "path", path: target }, context: { depth }, audit: { ...present(args), path: target } };
  },
  run: async (args, context) => {
    const { container } = await context.session();
    const { signal, profile } = context;
    const target = targetPath(args.path);
    const { kind } = await stat(container, target, signal);
    if (kind !== "directory")
      throw new GatewayError("NOT_A_DIRECTORY", `\`${oneLine(target, 4_096)}\` is no directory`);
    const found: Entry[] = [];
    const fields: Buffer[] = [];
    const onPiece = (field: Buffer | undefined) => {
      fields.push(field ?? TOO_LONG);
      if (fields.length === FIELDS) found.push(parseEntry(fields.splice(0)));
      return found.length <= MAX_SCANNED;
    };
    // The path is absolute, so that find can't take it for an option or an expression.
    const argv = ["find", "-P", target, "-mindepth", "1", "-maxdepth", String(args.depth), "-printf", FORMAT] as const;
    const limits = { separator: 0, maxPieceBytes: MAX_FIELD_BYTES, timeLimitMs: profile.timeouts.yieldMs };
    const end = await scan(container, { argv, ...limits, onPiece }, signal).catch(
      missingProgram("find", "GNU findutils"),
    );
    const problem = problemOf(end, found.length);
    const entries = found.sort((a, b) => (a.name < b.name ? -1 : 1)).slice(0, args.limit);
    const truncated = entries.length < found.length || end.stopped !== undefined;
    const lines = [`${oneLine(target, 4_096)}: ${entries.length} entries${truncated ? ", and more" : ""}`];
    const text = [...lines, ...entries.map(lineOf), ...(problem === undefined ? [] : [problem])].join("\n");
    const facts = { path: target, entries: entries.length, truncated };
    return { result: { path: target, entries, truncated, ...present({ problem }) }, text, facts };
  },
});

const KINDS: Readonly<Record<string, Entry["kind"]>> = { f: "file", d: "directory", l: "link" };

/** @throws GatewayError CONTAINER_FAILED when it is not what `FORMAT` makes */
function parseEntry(fields: readonly Buffer[]): Entry {
  const [type = "", mode = "", size = "", modified = ""] = fields.slice(0, 4).map((it) => it.toString("latin1"));
  const [name = Buffer.alloc(0), link = Buffer.alloc(0)] = fields.slice(4);
  const modifiedMs = Number.parseFloat(modified) * 1_000;
  const valid = /^[a-zA-Z?]$/.test(type) && /^[0-7]{1,4}$/.test(mode) && /^\d{1,15}$/.test(size) && name.length > 0;
  if (!valid || Math.abs(modifiedMs) >= 8.64e15 || Number.isNaN(modifiedMs)) {
    throw new GatewayError("CONTAINER_FAILED", "the sandbox's find gave an answer that can't be understood");
  }
  return {
    name: name.toString("utf8"),
    kind: KINDS[type] ?? "other",
    sizeBytes: Number(size),
    mode: octal(Number.parseInt(mode, 8)),
    modified: new Date(modifiedMs).toISOString(),
    ...(type === "l" ? { target: link.toString("utf8") } : {}),
    ...(isUtf8(name) ? {} : { inexact: true }),
  };
}

/** @throws GatewayError CONTAINER_FAILED when nothing could be listed */
function problemOf({ exit, stderr, stopped }: ScanEnd, found: number): string | undefined {
  if (stopped === "time") return "The time for listing was over before all was seen.";
  if (stopped === "enough" || (exit.by === "exit" && exit.exitCode === 0)) return undefined;
  const said = readable(stderr).trim().slice(0, 1_000);
  if (found === 0) throw new GatewayError("CONTAINER_FAILED", `the directory can't be listed: ${said || exit.by}`);
  return said || `find ended by ${exit.by}`;
}

const SIGNS: Readonly<Record<Entry["kind"], string>> = { file: "-", directory: "d", link: "l", other: "?" };

function lineOf({ name, kind, sizeBytes, mode, target }: Entry): string {
  const shown = oneLine(name, 1_000) + (kind === "directory" ? "/" : "");
  return `${SIGNS[kind]} ${mode} ${sizeBytes} ${shown}${target === undefined ? "" : ` -> ${oneLine(target)}`}`;
}
