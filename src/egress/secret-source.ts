import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { GatewayError } from "../errors.ts";
import { codeOf } from "../lib/error.ts";
import { fromHome } from "../lib/home.ts";
import type { Secret } from "../policy/secret.ts";
import { commandOutput, type Fail } from "./secret-command.ts";

const MAX_BYTES = 64 * 1024;
/** A shorter value would be masked wherever it stands by chance. */
const MIN_CHARS = 8;

/**
 * Reads a secret's value where the profile says it is: at least 8 characters of printable ASCII, which is what fits into a header.
 * @throws GatewayError SECRET_UNAVAILABLE, which names the secret and what is wrong, never any part of a value; or the signal's reason
 */
export async function readSecret(
  { name, source }: Pick<Secret, "name" | "source">,
  signal: AbortSignal,
): Promise<string> {
  signal.throwIfAborted();
  const fail: Fail = (problem, cause) =>
    new GatewayError("SECRET_UNAVAILABLE", `Secret ${name}: ${problem}.`, cause === undefined ? undefined : { cause });
  const value = await valueIn(source, signal, fail);
  const problem = unfit(value);
  if (problem) throw fail(`its value ${problem}`);
  return value;
}

async function valueIn(source: Secret["source"], signal: AbortSignal, fail: Fail): Promise<string> {
  if ("env" in source) {
    const value = process.env[source.env];
    if (value === undefined) throw fail("its variable is not in the gateway's environment", source.env);
    return value;
  }
  if ("file" in source) return asLine(await fileContent(source.file, fail));
  const { command, timeoutMs } = source;
  return asLine(await commandOutput(command, { timeoutMs, maxBytes: MAX_BYTES, signal, fail }));
}

/** Links are followed, as Kubernetes mounts secrets; what is examined is what is read. */
async function fileContent(path: string, fail: Fail): Promise<Buffer> {
  const place = fromHome(path);
  const file = await opened(place, fail);
  try {
    const stats = await file.stat();
    if (!stats.isFile()) throw fail("its file is not a regular file", place);
    if ((stats.mode & (constants.S_IWGRP | constants.S_IWOTH)) !== 0) {
      throw fail("others than its owner may write its file; run `chmod go-w` on it", place);
    }
    if ((stats.mode & constants.S_IROTH) !== 0) {
      throw fail("anybody may read its file; run `chmod o-r` on it", place);
    }
    return await contentOf(file, place, fail);
  } finally {
    await file.close();
  }
}

async function opened(place: string, fail: Fail): Promise<FileHandle> {
  try {
    // A pipe or a terminal must neither hold this up nor become the gateway's own.
    return await open(place, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch (error) {
    const code = codeOf(error) ?? "";
    throw fail(code === "ENOENT" ? "its file does not exist" : "its file cannot be opened", `${code} ${place}`);
  }
}

/** Reads what is there, and not what the size says: the file may grow. */
async function contentOf(file: FileHandle, place: string, fail: Fail): Promise<Buffer> {
  const content = Buffer.alloc(MAX_BYTES + 1);
  let bytes = 0;
  while (bytes < content.length) {
    const { bytesRead } = await file.read(content, bytes, content.length - bytes, bytes);
    if (bytesRead === 0) return content.subarray(0, bytes);
    bytes += bytesRead;
  }
  throw fail(`its file is larger than ${MAX_BYTES} bytes`, place);
}

/** One newline at the end is the editor's, or the program's. */
function asLine(content: Buffer): string {
  return content.toString("latin1").replace(/\r?\n$/, "");
}

function unfit(value: string): string | undefined {
  if (value === "") return "is empty";
  if (/[\r\n]/.test(value)) return "has more than one line, and a header has one";
  if (!/^[\x20-\x7e]*$/.test(value)) return "holds characters that a header cannot: only printable ASCII can be sent";
  if (/^ | $/.test(value)) return "begins or ends with a space";
  if (value.length < MIN_CHARS) return `has fewer than ${MIN_CHARS} characters, too few to be found in a response`;
  return undefined;
}
