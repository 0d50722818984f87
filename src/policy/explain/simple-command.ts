import { z } from "zod";
import type { PolicyRequest } from "../request.ts";
import { isPlainBuiltin } from "../shell/programs.ts";

/** A redirection is no part of what policy knows, and `exec` knows none; quoted ones are not worth telling apart. */
const REDIRECTS = /[<>]/;

const argvSchema = z.tuple([z.string()], z.string());

/**
 * The argv of a script that is one command, by the facts of the action `shell`: one that a program answers to, and no builtin of bash, so that
 * `exec` does the same with it.
 */
export function simpleCommand(script: string, context: PolicyRequest["context"]): readonly string[] | undefined {
  const { opaque, commands, commandCount } = context;
  if (opaque !== false || commandCount !== 1 || !Array.isArray(commands) || REDIRECTS.test(script)) return undefined;
  const argv = argvSchema.parse(JSON.parse(String(commands[0])));
  return isPlainBuiltin(argv[0]) ? undefined : argv;
}
