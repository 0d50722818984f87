import { Argument, Command } from "commander";
import type { BodyName } from "../audit/bodies/bodies.ts";
import { type BodyCheck, checkBodies } from "../audit/bodies/check.ts";
import { type Erased, eraseBodies } from "../audit/bodies/erase.ts";
import { type BodyPlaces, bodyPlaces, endOfDayMs, listKept, listKeys, sessionOf } from "../audit/bodies/places.ts";
import { bodiesOfCall, readBody } from "../audit/bodies/read.ts";
import { openAuditLog } from "../audit/log.ts";
import { openSigner } from "../audit/proof/signer.ts";
import { storyOf } from "../audit/story.ts";
import { GatewayError } from "../errors.ts";
import { messageOf } from "../lib/error.ts";
import { newId } from "../lib/id.ts";
import { printable } from "../lib/text.ts";
import { userName } from "../lib/user.ts";
import { bodyJson, bodyLines, type ReadBody } from "./audit-bodies-text.ts";
import { logIn, print, readable } from "./audit-io.ts";
import { colour, counted, jsonText, oneLine } from "./audit-text.ts";
import { parseMoment } from "./moment.ts";

interface BodiesContext {
  readonly directory: (dataDir: string | undefined) => string;
  readonly dataDirectory: (dataDir: string | undefined) => string;
  readonly keyFile: (dataDir: string | undefined) => string;
}

interface Options {
  readonly dataDir?: string;
  readonly json?: boolean;
  readonly session?: string;
  readonly before?: number;
}

const NAMES: readonly BodyName[] = ["arguments", "result"];

/** `glovebox audit bodies show|verify|erase`: what went into calls and came out of them, where policy has it kept. */
export function bodiesCommand(context: BodiesContext): Command {
  const command = new Command("bodies")
    .description("what went into calls and came out of them, encrypted: show, verify or erase it")
    .addHelpText(
      "after",
      `
With \`audit.bodies: encrypted\` in its profile.yaml, policy has gateways keep the arguments and the result of every call that is decided, without the
secrets that are known, in bodies/ of the data directory. Each session and day has a key of its own, in keys/bodies/. The log has the digests of the
encrypted files: erasing a key makes its bodies unreadable, and leaves the log as it is. docs/audit-bodies.md says more.

Examples:
  $ glovebox audit bodies show call-0mwplkhc8c2b36263ab4f8dbd
  $ glovebox audit bodies show call-0mwplkhc8c2b36263ab4f8dbd result --json
  $ glovebox audit bodies verify                           are all there that the log names?
  $ glovebox audit bodies erase --session ses-0mwplk2s8c2b36263ab4f8dbd
  $ glovebox audit bodies erase --before 90d               for good: there is no way back`,
    );
  const dataDir = [
    "--data-dir <dir>",
    "where the log, the bodies and their keys are kept (env GLOVEBOX_DATA_DIR)",
  ] as const;
  command
    .command("show")
    .argument("<callId>", "as results, errors and `audit tail` name it")
    .addArgument(new Argument("[name]", "one of the two; otherwise both").choices(NAMES))
    .description("decrypt and print the bodies of a call; exit code 1 when one can't be read")
    .option(...dataDir)
    .option("--json", "print them whole, as JSON")
    .action((callId: string, name: BodyName | undefined, options: Options) => show(context, callId, name, options));
  command
    .command("verify")
    .description("compare the files with the log; exit code 1 when one is missing or is another")
    .option(...dataDir)
    .option("--json", "print the result as JSON")
    .action((options: Options) => verify(context, options));
  command
    .command("erase")
    .description("erase keys, and with them what they encrypted; that is on record first. Gateways may run")
    .option("--session <id>", "of this session")
    .option("--before <time>", "of days, in UTC, that ended before: 2026-11-21, 90d", parseMoment)
    .option(...dataDir)
    .option("--json", "print how much was erased as JSON")
    .action((options: Options) => erase(context, options));
  return command;
}

async function show(
  context: BodiesContext,
  callId: string,
  name: BodyName | undefined,
  options: Options,
): Promise<void> {
  const directory = context.directory(options.dataDir);
  const places = placesOf(context, options);
  const all = await readable(directory, bodiesOfCall(directory, callId));
  if (all === undefined)
    throw new GatewayError("INVALID_ARGUMENTS", `the log has no call \`${printable(callId, 100)}\``);
  const named = all.filter((it) => name === undefined || it.name === name);
  if (named.length === 0)
    throw new GatewayError(
      "INVALID_ARGUMENTS",
      `no ${name ?? "bodies"} of this call ${name ? "is" : "are"} kept: policy had none kept when it was decided, or it has not ended`,
    );
  const bodies: ReadBody[] = [];
  for (const body of named) {
    try {
      bodies.push({ body, content: await readBody(places, body) });
    } catch (error) {
      const problem = error instanceof GatewayError ? error.message : `it cannot be read: ${messageOf(error)}`;
      bodies.push({ body, problem });
      process.exitCode = 1;
    }
  }
  await print(options.json ? [bodyJson(callId, bodies)] : bodies.flatMap(bodyLines));
}

async function verify(context: BodiesContext, options: Options): Promise<void> {
  const directory = await logIn(context.directory(options.dataDir));
  const onProgress = (bodies: number) => {
    if (bodies % 10_000 === 0) process.stderr.write(`${bodies} bodies compared\n`);
  };
  const result = await readable(directory, checkBodies(directory, placesOf(context, options), onProgress));
  if (result.problemCount > 0 || result.unfinished > 0) process.exitCode = 1;
  await print(options.json ? [jsonText(result)] : checkLines(result));
}

function checkLines({ kept, erased, lost, unnamed, unfinished, problems, problemCount }: BodyCheck): string[] {
  const lines = problems.map(
    ({ callId, name, message }) => `${colour.red(name)} of ${oneLine(callId, 60)}: ${oneLine(message, 300)}`,
  );
  if (problemCount > problems.length) lines.push(`and ${problemCount - problems.length} more`);
  if (unfinished > 0)
    lines.push(
      colour.red(
        `${counted(unfinished, "key")} on record as erased, and still there: erase the same again, unless that goes on just now`,
      ),
    );
  if (unnamed > 0)
    lines.push(
      `${counted(unnamed, "file")} that no record names: a gateway died, or could not write its log, before it was on record`,
    );
  const verdict =
    problemCount === 0 ? colour.green("all are as the log says") : colour.red(counted(problemCount, "problem"));
  const others = lost === 0 ? "" : `, ${lost} could not be kept`;
  return [...lines, `${verdict}: ${kept} kept, ${erased} erased${others}`];
}

async function erase(context: BodiesContext, options: Options): Promise<void> {
  const { dataDir, session, before } = options;
  if (session === undefined && before === undefined)
    throw new GatewayError("INVALID_ARGUMENTS", "say which: --session <id>, --before <time>, or both");
  const erases = (keyId: string) =>
    (session === undefined || sessionOf(keyId) === session) && (before === undefined || endOfDayMs(keyId) <= before);
  const directory = await logIn(context.directory(dataDir));
  const places = placesOf(context, options);
  const { keyIds, erasing } = await listKeys(places);
  const all = [...keyIds, ...erasing, ...(await listKept(places))];
  if (session !== undefined && !all.some((it) => sessionOf(it) === session)) await refuseUnknown(directory, session);
  const isAny = erasing.length > 0 || all.some(erases);
  const erased = isAny ? await eraseKeys(context, options, erases) : { keys: 0, bodies: 0, bytes: 0 };
  const { keys, bodies, bytes } = erased;
  await print([
    options.json
      ? JSON.stringify(erased, null, 2)
      : `erased ${keys === 1 ? "1 key" : `${keys} keys`}, and with them ${bodies === 1 ? "1 body" : `${bodies} bodies`} of ${bytes} bytes`,
  ]);
}

async function eraseKeys(
  context: BodiesContext,
  options: Options,
  erases: (keyId: string) => boolean,
): Promise<Erased> {
  const { dataDir } = options;
  const signer = await openSigner(context.keyFile(dataDir));
  await using audit = await openAuditLog({ directory: context.directory(dataDir), gateway: newId("gw"), signer });
  const by = `local:${userName()}`;
  const erased = await eraseBodies({ places: placesOf(context, options), audit, why: "person", by, erases });
  if (erased) return erased;
  throw new GatewayError("INVALID_ARGUMENTS", "another process is erasing bodies: try again when it is done");
}

/** One without keys had none kept, or they are erased; a mistyped one must not look like that. */
async function refuseUnknown(directory: string, session: string): Promise<void> {
  if ((await readable(directory, storyOf(directory, session)))?.kind === "session") return;
  throw new GatewayError("INVALID_ARGUMENTS", `the log has no session \`${printable(session, 100)}\``);
}

function placesOf(context: BodiesContext, { dataDir }: Options): BodyPlaces {
  return bodyPlaces(context.dataDirectory(dataDir));
}
