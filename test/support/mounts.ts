import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { onTestFinished } from "vitest";

/** A directory of a test's own, outside of what a mount may not hold. */
export function scratch(): string {
  const directory = mkdtempSync(join(tmpdir(), "glovebox-mounts-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Makes files of names and contents; a name that ends with a slash is a directory, one that ends with an asterisk is executable. */
export function fill(directory: string, files: Readonly<Record<string, string | Buffer>>): void {
  for (const [name, content] of Object.entries(files)) {
    const path = join(directory, name.replace(/\*$/, ""));
    mkdirSync(name.endsWith("/") ? path : dirname(path), { recursive: true });
    if (name.endsWith("/")) continue;
    writeFileSync(path, content);
    chmodSync(path, name.endsWith("*") ? 0o755 : 0o644);
  }
}

/** All below a directory: files with their content, links with their target, empty directories with a slash. */
export function contents(directory: string): Record<string, string> {
  if (!existsSync(directory)) return {};
  const found: Record<string, string> = {};
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    const name = relative(directory, path);
    if (entry.isSymbolicLink()) found[name] = `-> ${readlinkSync(path)}`;
    else if (entry.isFile())
      found[(lstatSync(path).mode & 0o111) === 0 ? name : `${name}*`] = readFileSync(path, "utf8");
    else if (entry.isDirectory() && readdirSync(path).length === 0) found[`${name}/`] = "";
  }
  return found;
}

/** Names of all that is no directory, sorted. */
export function filesOf(directory: string): string[] {
  return Object.keys(contents(directory))
    .filter((it) => !it.endsWith("/"))
    .toSorted();
}
