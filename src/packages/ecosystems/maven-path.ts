/** What a path of a Maven repository means (maven.apache.org/repository/layout.html). */
export type MavenPath =
  | { readonly kind: "metadata"; readonly name: string; readonly checksum: string | undefined }
  | { readonly kind: "snapshot"; readonly name: string; readonly version: string }
  | {
      readonly kind: "file";
      readonly name: string;
      readonly version: string;
      readonly file: string;
      readonly checksum: string | undefined;
    };

const SEGMENT = /^[A-Za-z0-9_][A-Za-z0-9_.+-]*$/;
const CHECKSUM = /\.(md5|sha1|sha256|sha512)$/;
/** Of a file, behind artifact and version: `.jar`, `-sources.jar`, `.tar.gz`. */
const TAIL = /^(?:-[A-Za-z0-9_.+-]+)?\.[A-Za-z0-9.]+$/;

/** `undefined` for what means nothing here. Names and versions have not been read. */
export function readMavenPath(path: string): MavenPath | undefined {
  const parts = path.split("/");
  if (!parts.every((it) => SEGMENT.test(it) && !it.includes(".."))) return undefined;
  const whole = parts.pop() ?? "";
  const checksum = CHECKSUM.exec(whole)?.[1];
  const file = whole.replace(CHECKSUM, "");
  const [last = "", above = ""] = [parts.at(-1), parts.at(-2)];
  const snapshot = /-snapshot$/i.test(last) && parts.length > 2;
  if (snapshot) return { kind: "snapshot", name: nameOf(parts.slice(0, -1)), version: last };
  if (file === "maven-metadata.xml") {
    return parts.length < 2 ? undefined : { kind: "metadata", name: nameOf(parts), checksum };
  }
  const stem = `${above}-${last}`;
  const fits = parts.length > 2 && file.startsWith(stem) && TAIL.test(file.slice(stem.length));
  // Signatures are over files that were checked already, by keys that nobody here knows.
  if (!fits || file.endsWith(".asc")) return undefined;
  return { kind: "file", name: nameOf(parts.slice(0, -1)), version: last, file, checksum };
}

function nameOf(parts: readonly string[]): string {
  return `${parts.slice(0, -1).join(".")}:${parts.at(-1) ?? ""}`;
}

/** Where a package's versions are, below the root. */
export function mavenFolder(name: string): string {
  const [group = "", artifact = ""] = name.split(":");
  return `${group.replaceAll(".", "/")}/${artifact}`;
}
