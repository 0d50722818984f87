import { GatewayError } from "../errors.ts";
import { codeOf } from "../lib/error.ts";

/** What the host's file system refused, as an error for the caller, who learns no path of the host; anything else is left as it is. */
export function mountFailure(error: unknown, mount: string): unknown {
  const code = codeOf(error);
  if (code === undefined || error instanceof GatewayError || !(error instanceof Error && "syscall" in error))
    return error;
  if (code === "ENOSPC" || code === "EDQUOT")
    return new GatewayError("DISK_FULL", "the host's disk is full", { cause: error });
  return new GatewayError("MOUNT_UNUSABLE", `the host's file system refused (${code}) in the mount \`${mount}\``, {
    cause: error,
  });
}
