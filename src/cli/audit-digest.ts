import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { Command, InvalidArgumentError } from "commander";
import { digestKeyFile, readDigestKey } from "../audit/digest-key.ts";
import { GatewayError } from "../errors.ts";
import { isMissing, messageOf } from "../lib/error.ts";
import { printable } from "../lib/text.ts";
import { print } from "./audit-io.ts";

interface DigestContext {
  readonly keyFile: (dataDir: string | undefined) => string;
}

interface Options {
  readonly dataDir?: string;
  readonly sha256?: string;
  readonly json?: boolean;
}

/** `glovebox audit digest`: the digests under which a content stands in the log of a data directory. */
export function digestCommand({ keyFile }: DigestContext): Command {
  return new Command("digest")
    .argument("[file]", "whose content is meant; - for standard input")
    .description("print a file's SHA-256, and the keyed digest that the log has where contents are short")
    .addHelpText(
      "after",
      `
In place of the SHA-256 of what is short, or was not kept whole, the log has hmacSha256: nobody who reads the log can guess the content by it.
Whoever has keys/redaction.key of the data directory, as its owner has, can ask whether a content was this one.

Examples:
  $ glovebox audit digest notes.txt
  $ printf %s "$candidate" | glovebox audit digest -
  $ glovebox audit query --text "$(glovebox audit digest --json notes.txt | jq -r .hmacSha256)"
  $ glovebox audit digest --sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08`,
    )
    .option("--sha256 <hex>", "of a content that is not at hand", readHex)
    .option("--data-dir <dir>", "where the log and its keys are kept (env GLOVEBOX_DATA_DIR)")
    .option("--json", "print them as JSON")
    .action((file: string | undefined, options: Options) => digest(keyFile(options.dataDir), file, options));
}

async function digest(signingKeyFile: string, file: string | undefined, { sha256, json }: Options): Promise<void> {
  if ((file === undefined) === (sha256 === undefined)) {
    throw new GatewayError("INVALID_ARGUMENTS", "name a file, - for standard input, or give --sha256");
  }
  const key = await readDigestKey(digestKeyFile(signingKeyFile)).catch((cause: unknown) => {
    if (!isMissing(cause)) throw cause;
    const message = "there is no key for digests yet: a gateway makes it at its next start";
    throw new GatewayError("CONFIG_INVALID", message, { cause });
  });
  const plain = sha256 ?? (await sha256Of(file ?? "-"));
  const both = { sha256: plain, hmacSha256: key.keyed(plain) };
  await print(
    json ? [JSON.stringify(both, null, 2)] : [`sha256      ${both.sha256}`, `hmacSha256  ${both.hmacSha256}`],
  );
}

async function sha256Of(file: string): Promise<string> {
  const content = createHash("sha256");
  const read = async () => {
    for await (const piece of file === "-" ? process.stdin : createReadStream(file)) content.update(piece as Buffer);
  };
  try {
    await read();
  } catch (error) {
    const message = `\`${printable(file)}\` cannot be read: ${printable(messageOf(error))}`;
    throw new GatewayError("INVALID_ARGUMENTS", message, { cause: error });
  }
  return content.digest("hex");
}

function readHex(text: string): string {
  if (/^[0-9a-f]{64}$/i.test(text)) return text.toLowerCase();
  throw new InvalidArgumentError("give 64 hexadecimal digits");
}
