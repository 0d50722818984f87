import { resolve } from "node:path";
import { Command } from "commander";
import { type CopyPlaces, compareCopies, placesAt, savedByCopy } from "../audit/compare-copies.ts";
import type { ProofOptions } from "../audit/proof/chain-proof.ts";
import { rememberedCheckpoints } from "../audit/proof/remembered.ts";
import type { SavedCheckpoint } from "../audit/proof/saved.ts";
import type { Verification } from "../audit/verification.ts";
import { verifyLog } from "../audit/verify.ts";
import { GatewayError } from "../errors.ts";
import { codeOf } from "../lib/error.ts";
import { printable } from "../lib/text.ts";
import { logIn, print, readable } from "./audit-io.ts";
import { type ProofArguments, readProofOptions, withProofOptions } from "./audit-proof-options.ts";
import { colour, jsonText, problemLine, verificationLines } from "./audit-text.ts";
import { parseMoment } from "./moment.ts";

interface VerifyContext {
  readonly directory: (dataDir: string | undefined) => string;
  readonly keyFile: (dataDir: string | undefined) => string;
}

interface Options extends ProofArguments {
  readonly dataDir?: string;
  readonly json?: boolean;
  /** Milliseconds since 1970. */
  readonly at?: number;
}

/** `glovebox audit verify`. */
export function verifyCommand({ directory, keyFile }: VerifyContext): Command {
  return withProofOptions(
    new Command("verify")
      .argument(
        "[paths...]",
        "audit directories, chains' directories, single segments, or other files of records (default: the data directory's log)",
      )
      .description("check every record of every chain; exit code 1 names what is damaged, with its place"),
  )
    .option(
      "--at <time>",
      "when a copy was made: its last records may be without a signature for ten minutes",
      parseMoment,
    )
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
      chains: [chain-0mw…]   # may be left out: in these no other gateway's key counts

A file of another name than a segment's (000001.jsonl) holds records that have left the log, of one chain or several, as \`audit export\` or
a receiver of central logging has them: in each chain's order, from its first record on. One that was delivered again counts once.

Of several copies each is reported, and a chain that two of them have has to be the same as far as both go. Records that no key
signed within ten minutes are a problem: say with --at when a copy of a log that goes on was made.

Examples:
  $ glovebox audit verify
  $ glovebox audit verify --keys gateways.yaml
  $ glovebox audit verify --keys gateways.yaml --gateway "ada's laptop" --at 2026-11-21T03:00Z /copies/ada
  $ glovebox audit verify --keys gateways.yaml /copies/*
  $ glovebox audit verify --keys gateways.yaml received.jsonl
  $ glovebox audit checkpoints --latest >> kept-elsewhere.txt       now and then
  $ glovebox audit verify --keys gateways.yaml --checkpoints kept-elsewhere.txt`,
    )
    .action(async (paths: readonly string[], options: Options) => {
      const { at } = options;
      const proof = { ...(await readProofOptions(options)), ...(at !== undefined && { nowMs: at }) };
      const [path, ...others] = paths.map((it) => resolve(it));
      if (others.length > 0) return await verifyCopies([...new Set([path ?? "", ...others])], proof, options);
      // Before the log, which goes on.
      const own = path === undefined ? await ownCheckpoints(keyFile(options.dataDir)) : [];
      const saved = [...own, ...(proof.saved ?? [])];
      const log = path ?? directory(options.dataDir);
      const result = await (path === undefined
        ? readable(log, verifyLog(log, { ...proof, saved }))
        : named(log, proof));
      // Unless gateways remember that there was one, which is a problem.
      if (result.chains === 0 && result.problemCount === 0) await logIn(log);
      if (result.problemCount > 0) process.exitCode = 1;
      await print(options.json ? [jsonText(result)] : verificationLines(result));
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

/** A log that was named: where there is none, nothing was verified. */
async function named(path: string, options: ProofOptions): Promise<Verification> {
  const result = await readable(path, verifyLog(path, options));
  if (result.chains > 0 || result.problemCount > 0) return result;
  const message = `there is no audit log in \`${printable(path)}\`: give the \`audit\` directory of a data directory`;
  throw new GatewayError("CONFIG_INVALID", message);
}

type Copy = { readonly path: string } & (Verification | { readonly error: string });

/** Each is reported, also when another can't be read. */
async function verifyCopies(paths: readonly string[], proof: ProofOptions, { json }: Options): Promise<void> {
  const nothing: CopyPlaces = { isFile: false, isWhole: false, chains: new Map() };
  const places = await Promise.all(paths.map((it) => placesAt(it).catch(() => nothing)));
  if (proof.saved?.length && places.some(({ isFile }) => isFile)) {
    const message =
      "checkpoints that were kept are compared with directories, or with one file alone: verify the files one by one";
    throw new GatewayError("INVALID_ARGUMENTS", message);
  }
  const saved = await savedByCopy(proof.saved ?? [], places);
  const copies: Copy[] = [];
  for (const [at, path] of paths.entries()) {
    const error = (it: unknown) => {
      if (it instanceof GatewayError) return { error: it.message };
      throw it;
    };
    copies.push({ path, ...(await named(path, { ...proof, saved: saved[at] ?? [] }).catch(error)) });
  }
  const forked = await compareCopies(places.filter((_, at) => !("error" in (copies[at] ?? {}))));
  if (forked.length > 0 || copies.some((it) => "error" in it || it.problemCount > 0)) process.exitCode = 1;
  if (json) return void (await print([jsonText({ copies, forked })]));
  for (const copy of copies) {
    const lines = "error" in copy ? [colour.red(printable(copy.error))] : verificationLines(copy);
    if (!(await print([`${printable(copy.path)}:`, ...lines.map((it) => `  ${it}`)]))) return;
  }
  await print(forked.map(problemLine));
}
