import { z } from "zod";
import type { Entry } from "../container/container.ts";
import { GatewayError } from "../errors.ts";
import { type CallContext, capability } from "./capability.ts";
import { digest, octal, path, sessionId, targetPath, unicode } from "./fields.ts";
import { statIfAny } from "./lookup.ts";
import { oneLine, present } from "./render.ts";

/** What one call may carry, whatever the profile: base64 of 24 MiB. */
const MAX_CONTENT_CHARS = 33_554_432;
const NEW_FILE_MODE = 0o644;

const input = z.strictObject({
  path: path.describe("Absolute, or relative to /workspace."),
  content: unicode(MAX_CONTENT_CHARS).describe("The whole file."),
  encoding: z.enum(["utf8", "base64"]).default("utf8").describe("Of content."),
  mode: z
    .string()
    .regex(/^0?[0-7]{3}$/, "must be three octal digits, e.g. 755")
    .optional()
    .describe("Octal, e.g. 755. Default: as it is, or 644 for a new file."),
  createParents: z.boolean().default(true).describe("Make missing directories."),
  ifHash: z
    .string()
    .regex(/^([0-9a-f]{64}|absent)$/, "must be a SHA-256 in hexadecimal, or `absent`")
    .optional()
    .describe("Write only if the file has this sha256 now, or is `absent`."),
  sessionId,
});
type Input = z.output<typeof input>;

export const writeFile = capability({
  name: "writeFile",
  description: "Create or replace a file in the sandbox.",
  annotations: { title: "Write a file", readOnly: false, destructive: true, idempotent: true, openWorld: false },
  input,
  output: z.strictObject({
    path: z.string(),
    bytes: z.number(),
    sha256: z.string(),
    mode: z.string(),
    created: z.boolean(),
  }),
  describe: (args) => {
    const target = targetPath(args.path);
    const { encoding, createParents, sessionId } = args;
    const content = digest(contentOf(args));
    const mode = args.mode === undefined ? undefined : Number.parseInt(args.mode, 8);
    return {
      resource: { type: "path", path: target },
      context: present({ ...content, encoding, createParents, ifHash: args.ifHash !== undefined, mode }),
      audit: {
        path: target,
        content,
        ...present({ encoding, createParents, sessionId, mode: args.mode, ifHash: args.ifHash }),
      },
    };
  },
  run: async (args, context) => {
    const target = targetPath(args.path);
    const content = contentOf(args);
    const { maxWriteBytes } = context.profile.files;
    if (content.length > maxWriteBytes) {
      throw new GatewayError(
        "FILE_TOO_LARGE",
        `content: ${content.length} bytes; the profile permits ${maxWriteBytes}`,
      );
    }
    const { turns } = await context.session();
    return turns.take(target, context.signal, () => write(target, content, args, context));
  },
});

type Replaced = { readonly bytes: number; readonly sha256?: string };

async function write(target: string, content: Buffer, args: Input, context: CallContext) {
  const { container } = await context.session();
  const existing = await statIfAny(container, target, context.signal);
  const before = existing?.kind === "file" ? await replaced(existing, context) : undefined;
  if (args.ifHash !== undefined) checkUnchanged(args.ifHash, existing !== undefined, before);
  const mode = args.mode === undefined ? (existing?.mode ?? NEW_FILE_MODE) & 0o777 : Number.parseInt(args.mode, 8);
  await container.writeFile(target, content, { mode, createParents: args.createParents }, context.signal);
  const created = existing === undefined;
  const result = { path: target, ...digest(content), mode: octal(mode), created };
  const text = `${created ? "created" : "replaced"} ${oneLine(target, 4_096)}: ${result.bytes} bytes, sha256 ${result.sha256}`;
  return { result, text, facts: { ...result, ...(before && { before }) } };
}

/** What a file holds that is about to be replaced; without its digest where it is too large to be read. */
async function replaced(existing: Entry, { session, profile, signal }: CallContext): Promise<Replaced> {
  const { container } = await session();
  try {
    return digest(await container.readFile(existing.path, profile.files.maxReadBytes, signal));
  } catch (error) {
    if (error instanceof GatewayError && error.code === "FILE_TOO_LARGE") return { bytes: existing.sizeBytes };
    throw error;
  }
}

/** @throws GatewayError FILE_CHANGED, FILE_TOO_LARGE */
function checkUnchanged(ifHash: string, exists: boolean, before: Replaced | undefined): void {
  if (!exists && ifHash !== "absent") throw new GatewayError("FILE_CHANGED", "the file does not exist any more");
  if (!exists) return;
  if (ifHash === "absent") throw new GatewayError("FILE_CHANGED", "the file exists already");
  if (before && before.sha256 === undefined) {
    throw new GatewayError("FILE_TOO_LARGE", "the file that is there is too large to be compared");
  }
  if (before && before.sha256 !== ifHash)
    throw new GatewayError("FILE_CHANGED", `the file's sha256 is ${before.sha256} now`);
}

/** @throws GatewayError INVALID_ARGUMENTS */
function contentOf({ content, encoding }: Pick<Input, "content" | "encoding">): Buffer {
  const bytes = Buffer.from(content, encoding);
  // Node skips what is not base64; then something else would be written than was sent.
  if (encoding === "base64" && bytes.toString("base64") !== content) {
    throw new GatewayError("INVALID_ARGUMENTS", "content: is not base64 (standard alphabet, padded, no line breaks)");
  }
  return bytes;
}
