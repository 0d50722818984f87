import { GatewayError } from "../errors.ts";
import { printable } from "../lib/text.ts";
import type { FileMessage } from "./agent.ts";
import type { EntryKind } from "./container.ts";
import { isLink, kindName, notFound, notWritable } from "./refusals.ts";

export type Failed = Extract<FileMessage, { failed: unknown }>["failed"];

/** The error for what the guest agent says of a question about the path `asked`. */
export function refusalOf({ code, path, kind, target }: Failed, asked: string): GatewayError {
  if (kind === "link") {
    if (target === "")
      return new GatewayError("PATH_IS_LINK", `\`${printable(path)}\` is a symbolic link that leads in a circle`);
    return isLink(path, printable(target), asked.slice(path.length));
  }
  switch (code) {
    case "ENOENT":
      return notFound(path);
    case "NOT_DIRECTORY":
      return new GatewayError(
        "NOT_A_DIRECTORY",
        `\`${printable(path)}\` is a ${kindName(kindOf(kind))}, not a directory`,
      );
    case "NOT_FILE":
      return new GatewayError("NOT_A_FILE", `\`${printable(path)}\` is a ${kindName(kindOf(kind))}`);
    case "TOO_MANY":
      return new GatewayError("TRANSFER_TOO_LARGE", `there are too many files in \`${printable(path)}\``);
    case "TOO_LARGE":
      return new GatewayError("TRANSFER_TOO_LARGE", `the files in \`${printable(path)}\` are too large together`);
    case "TOO_DEEP":
      return new GatewayError("TRANSFER_TOO_LARGE", `\`${printable(path, 300)}\` lies too deep`);
    case "CHANGED":
      return new GatewayError("FILE_CHANGED", `\`${printable(path)}\` changed while it was read`);
    case "EROFS":
      return notWritable(asked);
    case "ENOSPC":
    case "EDQUOT":
      return new GatewayError("DISK_FULL", "the sandbox's disk is full");
    default:
      return new GatewayError("CONTAINER_FAILED", `\`${printable(path)}\`: ${printable(code, 300)}`);
  }
}

function kindOf(kind: string): EntryKind {
  return kind === "file" || kind === "directory" ? kind : "other";
}
