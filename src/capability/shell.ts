import { z } from "zod";
import { scriptFacts } from "../policy/shell/facts.ts";
import { capability } from "./capability.ts";
import { digest, plain, sandbox } from "./fields.ts";
import { MAX_ARGUMENT_BYTES, runAudit, runFacts, runOptions, runProgram, runResult } from "./run.ts";

/** `--` because a script may begin with a dash; `--norc` because bash reads ~/.bashrc when its input is a socket. */
const SHELL = ["/bin/bash", "--norc", "-c", "--"] as const;
/** A script up to this is kept in the audit log as it is, a longer one as its beginning, size and digest. */
const MAX_AUDITED_CHARS = 16_384;

export const shell = capability({
  name: "shell",
  description: "Run a script with bash in the sandbox. Prefer exec where no pipe, redirection or the like is needed.",
  annotations: { title: "Run a shell script", readOnly: false, destructive: true, idempotent: false, openWorld: false },
  input: z.strictObject({
    script: plain(MAX_ARGUMENT_BYTES)
      .min(1)
      .refine((it) => Buffer.byteLength(it) <= MAX_ARGUMENT_BYTES, `must have at most ${MAX_ARGUMENT_BYTES} bytes`)
      .describe("bash, e.g. `sort a.txt | uniq -c > b.txt`."),
    ...runOptions,
  }),
  output: runResult,
  describe: (args) => {
    const { bytes, sha256 } = digest(Buffer.from(args.script));
    const script = args.script.slice(0, MAX_AUDITED_CHARS).toWellFormed();
    return {
      resource: sandbox(args),
      context: { scriptSha256: sha256, scriptBytes: bytes, ...scriptFacts(args.script, args.env), ...runFacts(args) },
      audit: { script, scriptSha256: sha256, scriptBytes: bytes, ...runAudit(args) },
    };
  },
  run: (args, context) => runProgram([...SHELL, args.script], args, context),
});
