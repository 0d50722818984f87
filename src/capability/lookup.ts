import type { Container, Entry } from "../container/container.ts";
import { GatewayError } from "../errors.ts";
import { oneLine } from "./render.ts";

/** What is at the path, or nothing. @throws GatewayError PATH_IS_LINK */
export async function statIfAny(container: Container, path: string, signal: AbortSignal): Promise<Entry | undefined> {
  try {
    return await stat(container, path, signal);
  } catch (error) {
    if (error instanceof GatewayError && error.code === "FILE_NOT_FOUND") return undefined;
    throw error;
  }
}

/** What is at the path; a link is not followed. @throws GatewayError FILE_NOT_FOUND, PATH_IS_LINK */
export async function stat(container: Container, path: string, signal: AbortSignal): Promise<Entry> {
  const entry = await container.stat(path, signal);
  if (entry.kind !== "link") return entry;
  const target = oneLine(entry.target ?? "", 4_096);
  throw new GatewayError("PATH_IS_LINK", `\`${oneLine(path, 4_096)}\` is a symbolic link to \`${target}\``);
}
