import { isUtf8 } from "node:buffer";
import { z } from "zod";
import type { Json } from "../audit/record.ts";
import { type CallContext, capability, type Outcome } from "./capability.ts";
import { path, sessionId, sha256, targetPath } from "./fields.ts";
import { imageType } from "./image-type.ts";
import { oneLine, present, readable } from "./render.ts";

const DEFAULT_LINES = 2_000;
/** Clients refuse pictures that are much larger. */
const MAX_PICTURE_BYTES = 3_932_160;
/** A NUL in the beginning tells binary files from text, as git does. */
const SNIFFED_BYTES = 8_192;

const output = z.strictObject({
  path: z.string(),
  kind: z.enum(["text", "bytes", "image", "binary"]).describe("binary: content only with encoding base64."),
  content: z.string().optional().describe("Text, or base64 for bytes. An image is attached instead."),
  firstLine: z.number().optional(),
  lastLine: z.number().optional(),
  totalLines: z.number().optional(),
  firstByte: z.number().optional(),
  mimeType: z.string().optional(),
  sizeBytes: z.number(),
  sha256: z.string().describe("Of the whole file; writeFile takes it as ifHash."),
  truncated: z.boolean(),
  lossy: z.boolean().optional().describe("Invalid UTF-8 was replaced in content."),
  hint: z.string().optional(),
});
type Output = z.output<typeof output>;

export const readFile = capability({
  name: "readFile",
  description: "Read a file of the sandbox: text by lines, images as pictures, anything as base64.",
  annotations: { title: "Read a file", readOnly: true, destructive: false, idempotent: true, openWorld: false },
  input: z.strictObject({
    path: path.describe("Absolute, or relative to /workspace."),
    offset: z.int().min(0).max(1_000_000_000).default(0).describe("First line, from 1; for base64, bytes to skip."),
    limit: z
      .int()
      .min(1)
      .max(268_435_456)
      .optional()
      .describe(`Most lines (default ${DEFAULT_LINES}); for base64, most bytes.`),
    encoding: z.enum(["utf8", "base64"]).default("utf8").describe("base64 gives any file's bytes."),
    sessionId,
  }),
  output,
  describe: (args) => {
    const target = targetPath(args.path);
    return {
      resource: { type: "path", path: target },
      context: { encoding: args.encoding },
      audit: { ...present(args), path: target },
    };
  },
  run: async (args, context) => {
    const { container } = await context.session();
    const target = targetPath(args.path);
    const file = await container.readFile(target, context.profile.files.maxReadBytes, context.signal);
    const about = { path: target, sizeBytes: file.length, sha256: sha256(file) };
    if (args.encoding === "base64") return outcome(bytesOf(file, about, args, context));
    const mimeType = imageType(file);
    if (mimeType !== undefined && file.length <= MAX_PICTURE_BYTES) {
      const picture = outcome({ ...about, kind: "image", mimeType, truncated: false });
      return { ...picture, pictures: [{ mimeType, base64: file.toString("base64") }] };
    }
    if (file.subarray(0, SNIFFED_BYTES).includes(0)) {
      const hint = "Not text. Read it with encoding base64, or look into it with exec.";
      return outcome({ ...about, ...present({ mimeType }), kind: "binary", truncated: true, hint });
    }
    return outcome(linesOf(file, about, args, context));
  },
});

type About = Pick<Output, "path" | "sizeBytes" | "sha256">;
interface Range {
  readonly offset: number;
  readonly limit?: number | undefined;
}

function bytesOf(file: Buffer, about: About, { offset, limit }: Range, { profile }: CallContext): Output {
  const part = file.subarray(offset, offset + (limit ?? profile.output.maxBytes));
  const truncated = part.length < file.length;
  return { ...about, kind: "bytes", content: part.toString("base64"), firstByte: offset, truncated };
}

function linesOf(file: Buffer, about: About, { offset, limit }: Range, { profile }: CallContext): Output {
  const firstLine = Math.max(1, offset);
  const { begin, end, lastLine, totalLines } = lineRange(
    file,
    firstLine,
    limit ?? DEFAULT_LINES,
    profile.output.maxBytes,
  );
  const lineCut = begin === end && begin < file.length;
  const part = file.subarray(begin, lineCut ? begin + profile.output.maxBytes : end);
  const hint = lineCut
    ? `Line ${firstLine} is too long: this is its beginning. Use exec or shell for the rest.`
    : end < file.length
      ? `Read on with offset ${lastLine + 1}.`
      : undefined;
  const lossy = isUtf8(part) ? undefined : true;
  const range = { firstLine, lastLine: lineCut ? firstLine : lastLine, totalLines };
  const truncated = part.length < file.length;
  return { ...about, kind: "text", content: part.toString("utf8"), ...range, truncated, ...present({ lossy, hint }) };
}

/** Where the wanted lines begin and end: whole ones, as many as fit. A newline at the end of the file begins no line. */
function lineRange(file: Buffer, firstLine: number, limit: number, maxBytes: number) {
  let line = 1;
  let lineAt = 0;
  let begin = firstLine === 1 ? 0 : file.length;
  let end = begin;
  let lastLine = firstLine - 1;
  for (let at = 0; at < file.length; at++) {
    if (file[at] !== 10 && at + 1 < file.length) continue;
    const next = at + 1;
    if (line === firstLine) begin = end = lineAt;
    if (line === lastLine + 1 && line < firstLine + limit && line >= firstLine && next - begin <= maxBytes) {
      end = next;
      lastLine = line;
    }
    lineAt = next;
    line += 1;
  }
  return { begin, end, lastLine, totalLines: line - 1 };
}

function outcome(result: Output): Outcome<Output> {
  const { content, hint, ...facts } = result;
  const size = `${result.sizeBytes} bytes, sha256 ${result.sha256}`;
  const range =
    result.kind === "text" ? `lines ${result.firstLine}-${result.lastLine} of ${result.totalLines}` : result.kind;
  const notes = [result.lossy ? "Invalid UTF-8 was replaced." : undefined, hint].filter((it) => it !== undefined);
  const body = content === undefined ? [] : [readable(content)];
  const text = [`${oneLine(result.path, 4_096)}: ${range}; ${size}`, ...notes, ...body].join("\n");
  return { result, text, facts: facts as Json };
}
