import { z } from "zod";
import { argvFacts } from "../policy/facts.ts";
import { capability } from "./capability.ts";
import { plain, sandbox } from "./fields.ts";
import { MAX_ARGUMENT_BYTES, runAudit, runFacts, runOptions, runProgram, runResult } from "./run.ts";

const MAX_ARGUMENTS = 256;

export const exec = capability({
  name: "exec",
  description:
    "Run one program in the sandbox, without a shell: argv reaches it exactly, nothing is expanded. Its exit code is part of the result; a failing program is not an error of the tool.",
  annotations: { title: "Run a program", readOnly: false, destructive: true, idempotent: false, openWorld: false },
  input: z.strictObject({
    argv: z
      .array(plain(MAX_ARGUMENT_BYTES))
      .min(1)
      .max(MAX_ARGUMENTS)
      .refine(([program]) => program !== "", "must begin with a program's name")
      .refine(
        (it) => it.reduce((sum, argument) => sum + Buffer.byteLength(argument) + 1, 0) <= MAX_ARGUMENT_BYTES,
        `must have at most ${MAX_ARGUMENT_BYTES} bytes in all`,
      )
      .describe('Program, found in PATH, and arguments, e.g. ["git", "status"].'),
    ...runOptions,
  }),
  output: runResult,
  describe: (args) => ({
    resource: sandbox(args),
    context: { ...argvFacts(args.argv), ...runFacts(args) },
    audit: { argv: args.argv, ...runAudit(args) },
  }),
  run: (args, context) => {
    const [program = "", ...rest] = args.argv;
    return runProgram([program, ...rest], args, context);
  },
});
