import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { onTestFinished } from "vitest";
import { stringify } from "yaml";

export const INTRODUCTION = "---\nname: demo\ndescription: Does demonstrations.\n---\n\nDo as shown.\n";

export const CAPABILITY = {
  name: "show",
  title: "Show",
  description: "Shows something.",
  examples: ["show it", "show me", "let me see"],
  steps: [{ argv: ["true"] }],
};

/** capabilities.yaml of one capability; `changes` go over what is there. */
export function definitionOf(changes: object, around: object = {}): string {
  return stringify({ version: "1.0.0", ...around, capabilities: [{ ...CAPABILITY, ...changes }] });
}

/** Below a folder of its own: `demo/SKILL.md`. Names that end in `*` are executable. */
export function folderOf(files: Readonly<Record<string, string | Buffer>>): string {
  const root = mkdtempSync(join(tmpdir(), "glovebox-skill-"));
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  for (const [path, content] of Object.entries(files)) {
    const file = join(root, path.replace(/\*$/, ""));
    mkdirSync(dirname(file), { recursive: true, mode: 0o755 });
    writeFileSync(file, content);
    chmodSync(file, path.endsWith("*") ? 0o755 : 0o644);
  }
  return root;
}

/** The files of a skill that does nothing. */
export function goodSkill(name = "demo"): Record<string, string> {
  return {
    [`${name}/SKILL.md`]: INTRODUCTION.replace("demo", name),
    [`${name}/capabilities.yaml`]: definitionOf({}),
  };
}
