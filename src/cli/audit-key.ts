import { mkdir } from "node:fs/promises";
import { hostname } from "node:os";
import { Command } from "commander";
import { openSigningKey, readSigningKey } from "../audit/proof/keys.ts";
import { rotateKey } from "../audit/proof/rotate.ts";
import { GatewayError } from "../errors.ts";
import { isMissing } from "../lib/error.ts";
import { newId } from "../lib/id.ts";
import { logIn, print } from "./audit-io.ts";

interface KeyContext {
  readonly dataDirectory: (dataDir: string | undefined) => string;
  readonly directory: (dataDir: string | undefined) => string;
  readonly keyFile: (dataDir: string | undefined) => string;
}

interface Options {
  readonly dataDir?: string;
  readonly json?: boolean;
  readonly make?: boolean;
}

/** `glovebox audit key show|rotate`: the key by which the log of a data directory is signed. */
export function keyCommand({ dataDirectory, directory, keyFile }: KeyContext): Command {
  const command = new Command("key")
    .description("the key that signs the log: show its public half, or replace it")
    .addHelpText(
      "after",
      `
A gateway makes its key at its first start, in keys/ of its data directory. The private half never leaves it. The public half is a line
that belongs into a file which others keep: \`glovebox audit verify --help\` shows it.

Examples:
  $ glovebox audit key show
  $ glovebox audit key show --make    on a computer where no gateway has run yet: as the user whose gateways will
  $ glovebox audit key rotate      with no gateway running; the old key signs that the new one follows`,
    );
  const dataDir = ["--data-dir <dir>", "where the log and its key are kept (env GLOVEBOX_DATA_DIR)"] as const;
  command
    .command("show")
    .description("print the verifier key: a line for the file of keys")
    .option(...dataDir)
    .option("--make", "make it where there is none, as a gateway does at its first start")
    .option("--json", "print it as JSON")
    .action(async (options: Options) => {
      // As a gateway makes it: machines run as users that have to get through it.
      if (options.make) await mkdir(dataDirectory(options.dataDir), { recursive: true, mode: 0o711 });
      await show(keyFile(options.dataDir), options);
    });
  command
    .command("rotate")
    .description("make a new key in place of the old one, and have every chain record it")
    .option(...dataDir)
    .option("--json", "print both verifier keys as JSON")
    .action((options: Options) => rotate(directory(options.dataDir), keyFile(options.dataDir), options));
  return command;
}

async function show(keyFile: string, { json, make }: Options): Promise<void> {
  const key = make ? openSigningKey(keyFile, hostname()) : readSigningKey(keyFile);
  const { verifier } = await key.catch((cause: unknown) => {
    if (!isMissing(cause)) throw cause;
    const message = "there is no key yet: a gateway makes it at its first start, or `audit key show --make` does";
    throw new GatewayError("CONFIG_INVALID", message, { cause });
  });
  const { name, id, line } = verifier;
  await print([json ? JSON.stringify({ name, id, verifierKey: line }, null, 2) : line]);
}

async function rotate(auditDirectory: string, keyFile: string, { json }: Options): Promise<void> {
  await logIn(auditDirectory);
  const { from, to } = await rotateKey({ auditDirectory, keyFile, gateway: newId("gw"), hostName: hostname() });
  if (!json) process.stderr.write(`${from.line} is replaced; add the new key to the file of keys:\n`);
  await print([json ? JSON.stringify({ from: from.line, to: to.line }, null, 2) : to.line]);
}
