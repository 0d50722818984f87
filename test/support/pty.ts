import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";

/** Whether this machine can give a program a terminal: util-linux's `script`. */
export const hasPty = spawnSync("script", ["--version"], { encoding: "utf8" }).stdout?.includes("util-linux") ?? false;

/** A program at a terminal, for which the test types. */
export interface Typist extends AsyncDisposable {
  /** Everything shown so far. */
  readonly shown: () => string;
  /** The match, as soon as what was shown after the last one has one. */
  see(pattern: RegExp): Promise<RegExpExecArray>;
  type(line: string): void;
  /** The exit code. */
  readonly ended: Promise<number | null>;
}

export function atTerminal(argv: readonly string[], env: NodeJS.ProcessEnv): Typist {
  const command = argv.map((it) => `'${it}'`).join(" ");
  const child: ChildProcess = spawn("script", ["-qefc", command, "/dev/null"], {
    env,
    stdio: ["pipe", "pipe", "inherit"],
  });
  const { stdin, stdout } = child;
  if (!stdin || !stdout) throw new Error("script has no pipes");
  let shown = "";
  let from = 0;
  stdout.setEncoding("utf8");
  stdout.on("data", (text: string) => {
    shown += text;
  });
  const ended = once(child, "exit").then(([code]) => code as number | null);
  return {
    shown: () => shown,
    see: async (pattern) => {
      for (;;) {
        const found = pattern.exec(shown.slice(from));
        if (found) {
          from += found.index + found[0].length;
          return found;
        }
        const over = await Promise.race([once(stdout, "data"), ended.then(() => "over")]);
        if (over === "over" && !pattern.test(shown.slice(from))) throw new Error(`ended without ${pattern}: ${shown}`);
      }
    },
    type: (line) => void stdin.write(`${line}\n`),
    ended,
    [Symbol.asyncDispose]: async () => {
      // Its terminal is gone with it, by which the program ends.
      if (child.exitCode === null) child.kill("SIGKILL");
      await ended;
    },
  };
}
