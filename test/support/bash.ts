import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/**
 * Functions come before builtins of the same name, and the handler gets all that no PATH leads to: bash itself says what it would run.
 * A file for each process of a pipeline, because bash writes line by line.
 */
const BUILTINS = [":", "cd", "echo", "exit", "false", "kill", "printf", "pwd", "true", "type"];
const RECORDER = [
  `record() { builtin printf '%s\\0' "$#" "$@" >> "$RECORDED/$BASHPID"; return "$STATUS"; }`,
  `command_not_found_handle() { record "$@"; }`,
  ...BUILTINS.map((it) => `${it}() { record ${it} "$@"; }`),
].join("\n");

export interface Ran {
  /** The argvs that bash ran, in any order. */
  readonly commands: readonly (readonly string[])[];
  readonly stderr: string;
  /** Files that came to be. */
  readonly files: readonly string[];
}

/** A bash that records what it would run in place of running it. Commands whose name has a slash are run: give it none. */
export function recordingBash(): Disposable & { readonly run: (script: string, status?: 0 | 1) => Ran } {
  const directory = mkdtempSync(join(tmpdir(), "glovebox-bash-"));
  const rc = join(directory, "rc");
  const recorded = join(directory, "recorded");
  const cwd = join(directory, "cwd");
  mkdirSync(cwd);
  writeFileSync(rc, `${RECORDER}\n`);
  return {
    run: (script, status = 0) => {
      rmSync(recorded, { recursive: true, force: true });
      mkdirSync(recorded);
      const env = {
        BASH_ENV: rc,
        RECORDED: recorded,
        STATUS: String(status),
        PATH: "/nonexistent",
        HOME: "/home",
        LANG: "C.UTF-8",
      };
      const { stderr } = spawnSync("/bin/bash", ["--norc", "-c", "--", script], { cwd, env, input: "" });
      return {
        commands: readdirSync(recorded).flatMap((it) => readArgvs(join(recorded, it))),
        stderr: stderr.toString(),
        files: readdirSync(cwd),
      };
    },
    [Symbol.dispose]: () => rmSync(directory, { recursive: true, force: true }),
  };
}

function readArgvs(file: string): string[][] {
  const fields = readFileSync(file, "utf8").split("\0");
  const argvs: string[][] = [];
  for (let at = 0; at < fields.length - 1; ) {
    const count = Number(fields[at]);
    argvs.push(fields.slice(at + 1, at + 1 + count));
    at += 1 + count;
  }
  return argvs;
}
