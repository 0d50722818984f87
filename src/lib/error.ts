/** The code of an error of the system's or Node's (`ENOENT`, `ERR_SQLITE_ERROR`), or of a `GatewayError`; `undefined` when it has none. */
export function codeOf(error: unknown): string | undefined {
  return error instanceof Error && "code" in error && typeof error.code === "string" ? error.code : undefined;
}

/** What an error says, whatever was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Whether a file system's error says that there is no such thing. */
export function isMissing(error: unknown): boolean {
  return codeOf(error) === "ENOENT";
}
