import { generateKeyPairSync } from "node:crypto";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { type PrivateKey, publicKeySchema } from "../../src/policy/distribution/keys.ts";
import { signFiles } from "../../src/policy/distribution/manifest.ts";
import { type BundleFiles, SIGNATURE } from "../../src/policy/read-files.ts";

export function newKey(): PrivateKey {
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  const raw = publicKey.export({ type: "spki", format: "der" }).subarray(12);
  return { key: privateKey, public: publicKeySchema.parse(`ed25519:${raw.toString("base64")}`) };
}

interface Contents {
  readonly name?: string;
  readonly version?: string;
  /** Lines of bundle.yaml besides. */
  readonly more?: string;
  readonly rules?: string;
}

export const RULES = "permit (principal, action, resource is Glovebox::Session);\n";

export function filesOf({ name = "acme", version = "1.0.0", more = "", rules = RULES }: Contents = {}): BundleFiles {
  return new Map([
    ["bundle.yaml", Buffer.from(`name: ${name}\nversion: ${version}\n${more}`)],
    ["rules.cedar", Buffer.from(rules)],
  ]);
}

export function signedBy(key: PrivateKey, files: BundleFiles): BundleFiles {
  const all = new Map([...files, [SIGNATURE, Buffer.from(signFiles(files, key))]]);
  return new Map([...all].toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

export function scratch(): string {
  const directory = mkdtempSync(join(tmpdir(), "glovebox-distribution-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Makes a folder have these files and no others. */
export function writeFolder(directory: string, files: BundleFiles): string {
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true, mode: 0o755 });
  for (const [name, content] of files) writeFileSync(join(directory, name), content, { mode: 0o644 });
  return directory;
}
