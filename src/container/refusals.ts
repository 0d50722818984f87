import { GatewayError } from "../errors.ts";
import { printable } from "../lib/text.ts";
import type { EntryKind } from "./container.ts";
import { WRITABLE_DIRECTORIES } from "./hardening.ts";

export function kindName(kind: EntryKind): string {
  return kind === "other" ? "device, socket or pipe" : kind === "link" ? "symbolic link" : kind;
}

export function isLink(path: string, target: string, rest: string): GatewayError {
  const real = `${target}${printable(rest)}`;
  return new GatewayError("PATH_IS_LINK", `\`${printable(path)}\` is a symbolic link; the real path is \`${real}\``);
}

export function notFound(path: string, why = "there is nothing"): GatewayError {
  return new GatewayError("FILE_NOT_FOUND", `\`${printable(path)}\`: ${why}`);
}

export function notWritable(path: string): GatewayError {
  const places = WRITABLE_DIRECTORIES.map((it) => it.path).join(", ");
  return new GatewayError(
    "PATH_NOT_WRITABLE",
    `\`${printable(path)}\` lies on the read-only file system; write below ${places}`,
  );
}

export function unseen(path: string): GatewayError {
  return notFound(path, "the file tools don't see the kernel's file systems; use `exec`");
}
