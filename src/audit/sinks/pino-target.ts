import { constants } from "node:fs";
import { realpath, stat } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, isAbsolute } from "node:path";
import { GatewayError } from "../../errors.ts";
import { codeOf } from "../../lib/error.ts";

const ROOT = 0;

/**
 * The file of a transport. It runs in the gateway with all that the gateway may do, so nobody but root and the gateway's own user may be able to
 * change it: the file and each folder above it are one of theirs, and others may write none of them. A package is looked for where Glovebox is
 * installed, never in the working directory, which may be a project that an agent writes.
 *
 * What the transport imports is not examined, beyond that it usually lies in the same folders.
 * @throws GatewayError CONFIG_INVALID naming the place and what repairs it
 */
export async function findTransport(target: string): Promise<string> {
  const file = await realpath(resolved(target)).catch((cause) => {
    throw new GatewayError("CONFIG_INVALID", `the transport \`${target}\` is not there (${codeOf(cause)})`, { cause });
  });
  for (let at = file; ; at = dirname(at)) {
    const { uid, mode } = await stat(at);
    if (uid !== ROOT && uid !== process.getuid?.()) throw refused(target, at, "belongs to another user", `chown`);
    const others = (mode & (constants.S_IWGRP | constants.S_IWOTH)) !== 0;
    // In a folder like /tmp others can add names, and neither rename nor remove those that are not theirs.
    const sticky = at !== file && (mode & 0o1000) !== 0;
    if (others && !sticky) throw refused(target, at, "may be written by others than its owner", "chmod go-w");
    if (at === dirname(at)) return file;
  }
}

function resolved(target: string): string {
  if (isAbsolute(target)) return target;
  try {
    return createRequire(import.meta.url).resolve(target);
  } catch (cause) {
    const repair =
      "install it beside Glovebox (`npm install --global`, when that is how Glovebox was), or give the path of its file";
    throw new GatewayError("CONFIG_INVALID", `there is no package \`${target}\`: ${repair}`, { cause });
  }
}

function refused(target: string, place: string, why: string, repair: string): GatewayError {
  const of = place === target ? "" : `, where the transport \`${target}\` is,`;
  return new GatewayError("CONFIG_INVALID", `\`${place}\`${of} ${why}: it would run in the gateway; \`${repair}\` it`);
}
