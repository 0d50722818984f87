import { homedir } from "node:os";
import { join } from "node:path";

/** A path as people write it: `~/` at its beginning is the home directory. */
export function fromHome(path: string): string {
  return path.startsWith("~/") ? join(homedir(), path.slice(2)) : path;
}
