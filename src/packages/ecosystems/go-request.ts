import type { Naming } from "../../policy/ecosystems/ecosystem.ts";
import { unescapeGo } from "../../policy/ecosystems/go.ts";

/** What the go command asks for (`go help goproxy`). */
export type GoRequest =
  | { readonly kind: "list" | "latest"; readonly name: string }
  | { readonly kind: "info" | "mod" | "zip" | "checksum"; readonly name: string; readonly version: string }
  /** Of the checksum database, and of no module. */
  | { readonly kind: "supported" | "tree" | "tile"; readonly path: string };

const TILE = /^tile\/8\/(?:data|\d{1,2})\/(?:x\d{3}\/){0,4}\d{3}(?:\.p\/\d{1,3})?$/;

/** `undefined` for what is none of it. A version is one exactly: names of branches and the like are not resolved. */
export function readGoRequest(naming: Naming, sumdb: string | undefined, path: string): GoRequest | undefined {
  const checksums = sumdb === undefined ? undefined : `sumdb/${sumdb}/`;
  if (checksums !== undefined && path.startsWith(checksums)) return readChecksums(naming, path.slice(checksums.length));
  const [, module = "", rest = ""] = /^(.+?)\/(@latest|@v\/[^/]+)$/.exec(path) ?? [];
  const name = readEscaped(module, naming.readName);
  if (name === undefined) return undefined;
  if (rest === "@latest") return { kind: "latest", name };
  if (rest === "@v/list") return { kind: "list", name };
  const [, escaped = "", kind] = /^@v\/(.+)\.(info|mod|zip)$/.exec(rest) ?? [];
  const version = readEscaped(escaped, naming.readVersion);
  if (version === undefined) return undefined;
  return kind === "info" || kind === "mod" || kind === "zip" ? { kind, name, version } : undefined;
}

function readChecksums(naming: Naming, path: string): GoRequest | undefined {
  if (path === "supported") return { kind: "supported", path };
  if (path === "latest") return { kind: "tree", path };
  if (TILE.test(path)) return { kind: "tile", path };
  const [, module = "", escaped = ""] = /^lookup\/([^@]+)@([^@/]+)$/.exec(path) ?? [];
  const name = readEscaped(module, naming.readName);
  const version = readEscaped(escaped, naming.readVersion);
  return name === undefined || version === undefined ? undefined : { kind: "checksum", name, version };
}

function readEscaped(text: string, read: (text: string) => string | undefined): string | undefined {
  const plain = unescapeGo(text);
  return plain === undefined ? undefined : read(plain);
}
