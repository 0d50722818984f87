import { posix } from "node:path";
import { GatewayError } from "../errors.ts";

const MAX_PATH_BYTES = 4095;
const MAX_NAME_BYTES = 255;

/**
 * The path's ancestors and itself, outermost first; `/` counts only as itself. Callers hand over what policy decided on, so the path is
 * normalised already; it is checked again because the engine would resolve `..` and NUL in ways of its own.
 * @throws GatewayError INVALID_ARGUMENTS
 */
export function stepsOf(path: string): readonly string[] {
  if (!path.startsWith("/") || path.includes("\0") || !path.isWellFormed()) {
    throw new GatewayError("INVALID_ARGUMENTS", "a path is absolute, holds no NUL and is valid Unicode");
  }
  if (path.startsWith("//") || posix.normalize(path) !== path || (path.length > 1 && path.endsWith("/"))) {
    throw new GatewayError("INVALID_ARGUMENTS", "a path holds no `.`, `..`, empty or trailing part");
  }
  const names = path.split("/").slice(1);
  if (Buffer.byteLength(path) > MAX_PATH_BYTES || names.some((name) => Buffer.byteLength(name) > MAX_NAME_BYTES)) {
    throw new GatewayError("INVALID_ARGUMENTS", "the path, or a name in it, is too long");
  }
  return path === "/" ? ["/"] : names.map((_name, index) => `/${names.slice(0, index + 1).join("/")}`);
}

/** Whether the path lies in a file system that the kernel makes up; the engine's archive calls don't see what is there. */
export function isKernelPath(path: string): boolean {
  return /^\/(proc|sys|dev)\//.test(path);
}
