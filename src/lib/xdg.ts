import { isAbsolute, join } from "node:path";

/** A base directory as the XDG specification (0.8) has it: of the environment, if that is an absolute path, or else below the home. */
export function xdgDirectory(named: string | undefined, home: string, ...otherwise: readonly string[]): string {
  return named && isAbsolute(named) ? named : join(home, ...otherwise);
}
