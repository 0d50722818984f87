import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { callCapability, runScript, scratch } from "./skill-script.ts";

export type Given = Parameters<typeof callCapability>[2];

/** A directory with a user's own configuration. */
export const userOf = (workspace: string) => ({
  PATH: process.env["PATH"],
  HOME: join(workspace, "home"),
  GIT_CONFIG_NOSYSTEM: "1",
  GIT_CEILING_DIRECTORIES: workspace,
});

/** A workspace, git as a person uses it there, and the skill. */
export function workspace() {
  const directory = scratch();
  mkdirSync(join(directory, "home"));
  const env = userOf(directory);
  return {
    directory,
    env,
    git: (...args: string[]) =>
      execFileSync("git", args, { cwd: directory, env, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim(),
    write: (name: string, text: string, mode = 0o644) => {
      mkdirSync(resolve(directory, name, ".."), { recursive: true });
      writeFileSync(join(directory, name), text, { mode });
    },
    call: (name: string, given: Given = {}) =>
      callCapability("git-repo", name, given, { workspace: directory, env: { HOME: env.HOME } }),
    script: (script: string, ...args: string[]) =>
      runScript("git-repo", script, args, { workspace: directory, env: { HOME: env.HOME } }),
  };
}

/** With two commits on main: `a.txt` and `docs/b.txt`, then a change of `a.txt`. */
export function repository() {
  const made = workspace();
  const { git, write } = made;
  git("init", "--quiet", "--initial-branch=main");
  git("config", "user.name", "Ada Lovelace");
  git("config", "user.email", "ada@example.org");
  write(".gitignore", "home\n");
  write("a.txt", "one\n");
  write("docs/b.txt", "two\n");
  git("add", ".");
  git("commit", "--quiet", "--message=First: a and b");
  write("a.txt", "one\nmore\n");
  git("commit", "--quiet", "--all", "--message=Second", "--author=Bob <bob@example.org>");
  return made;
}
