import { resolve } from "node:path";
import { Command } from "commander";
import { readKnownKeys, readSmall } from "../audit/proof/known-keys.ts";
import { rememberedCheckpoints } from "../audit/proof/remembered.ts";
import { readSavedCheckpoints, type SavedCheckpoint } from "../audit/proof/saved.ts";
import { verifyLog } from "../audit/verify.ts";
import { codeOf } from "../lib/error.ts";
import { print, readable } from "./audit-io.ts";
import { jsonLine, verificationLines } from "./audit-text.ts";

interface VerifyContext {
  readonly directory: (dataDir: string | undefined) => string;
  readonly keyFile: (dataDir: string | undefined) => string;
}

interface Options {
  readonly dataDir?: string;
  readonly json?: boolean;
  readonly keys?: string;
  readonly checkpoints?: string;
}

const MAX_CHECKPOINTS_BYTES = 64 * 1024 * 1024;

/** `glovebox audit verify`. */
export function verifyCommand({ directory, keyFile }: VerifyContext): Command {
  return new Command("verify")
    .argument("[path]", "an audit directory, one chain's directory, or one segment (default: the data directory's log)")
    .description("check every record of every chain; exit code 1 names what is damaged, with its place")
    .option("--keys <file>", "YAML file of the gateways' keys: finds what they did not sign")
    .option("--checkpoints <file>", "checkpoints that were kept elsewhere: finds what was removed since")
    .option("--data-dir <dir>", "where the log is kept (env GLOVEBOX_DATA_DIR)")
    .option("--json", "print the result as JSON")
    .addHelpText(
      "after",
      `
The hashes in the log find damage, and changes by somebody who does not mend the hashes. Somebody who does is found by what gateways
sign, when you have their keys from elsewhere: \`glovebox audit key show\` prints a gateway's. The file of keys:

  version: 1
  gateways:
    - name: ada's laptop
      keys:
        - ada-laptop-1f0c9a3e+0b1c2d3e+AXa…
      since: 2026-11-21      # and until: what is signed before or after is not believed

Examples:
  $ glovebox audit verify
  $ glovebox audit verify --keys gateways.yaml
  $ glovebox audit checkpoints --latest >> kept-elsewhere.txt       now and then
  $ glovebox audit verify --keys gateways.yaml --checkpoints kept-elsewhere.txt`,
    )
    .action(async (path: string | undefined, options: Options) => {
      if (path !== undefined) return await verify(resolve(path), [], options);
      // Before the log, which goes on.
      const own = await ownCheckpoints(keyFile(options.dataDir));
      await verify(directory(options.dataDir), own, options);
    });
}

async function ownCheckpoints(keyFile: string): Promise<readonly SavedCheckpoint[]> {
  try {
    return await rememberedCheckpoints(keyFile);
  } catch (error) {
    if (codeOf(error) !== "EACCES") throw error;
    process.stderr.write(
      "what the gateways remember of their checkpoints is for their user alone: the log is not compared with it\n",
    );
    return [];
  }
}

async function verify(
  path: string,
  own: readonly SavedCheckpoint[],
  { json, keys, checkpoints }: Options,
): Promise<void> {
  const kept =
    checkpoints === undefined ? [] : readSavedCheckpoints(await readSmall(checkpoints, MAX_CHECKPOINTS_BYTES));
  const options = { ...(keys !== undefined && { keys: await readKnownKeys(keys) }), saved: [...own, ...kept] };
  const result = await readable(path, verifyLog(path, options));
  if (result.problemCount > 0) process.exitCode = 1;
  await print(json ? [jsonLine({ text: JSON.stringify(result, null, 2) })] : verificationLines(result));
}
