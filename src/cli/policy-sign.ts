import { resolve } from "node:path";
import { type Command, InvalidArgumentError } from "commander";
import pc from "picocolors";
import { parseDocument } from "yaml";
import { GatewayError } from "../errors.ts";
import { problemText } from "../policy/bundle.ts";
import { readPrivateKey } from "../policy/distribution/keys.ts";
import { signFiles, versionSchema } from "../policy/distribution/manifest.ts";
import { replaceFile } from "../policy/distribution/place.ts";
import type { LoadPorts } from "../policy/load.ts";
import { loadBundleFiles } from "../policy/load.ts";
import { type BundleFiles, readBundleFiles, SIGNATURE } from "../policy/read-files.ts";
import { answer } from "./policy-answer.ts";
import type { PolicyContext } from "./policy-context.ts";

interface Options {
  readonly key: string;
  /** Commander's own `--version` is the program's. */
  readonly version?: string;
  readonly json?: boolean;
}

const MANIFEST = "bundle.yaml";

/** `glovebox policy sign`: vouches for a bundle as it is. */
export function addSign(command: Command, context: PolicyContext): void {
  command
    .command("sign")
    .argument("<bundle>", "folder of the bundle")
    .requiredOption("--key <file>", "the private key")
    .option("--version <version>", "give the bundle this version first", parseVersion)
    .option("--json", "print what was signed as JSON")
    .description("check a bundle and sign all its files but README.md; the signature becomes bundle.dsse.json")
    .addHelpText(
      "after",
      `
Signatures of other keys over the same files stay: two keys can sign one bundle, one after the other.

Example:
  $ glovebox policy sign ./acme-policy --key acme-policy.key --version 1.4.0`,
    )
    .action((directory: string, options: Options) =>
      answer(async () => sign(resolve(directory), options, await context.load())),
    );
}

async function sign(directory: string, { key, version, json }: Options, context: LoadPorts): Promise<boolean> {
  const signer = await readPrivateKey(resolve(key));
  const found = await readFolder(directory);
  const files = version === undefined ? found : withVersion(found, version);
  const { identity } = await loadBundleFiles(files, directory, context);
  const envelope = signFiles(files, signer);
  const manifest = files.get(MANIFEST);
  if (version !== undefined && manifest) await replaceFile(directory, MANIFEST, manifest.toString());
  await replaceFile(directory, SIGNATURE, envelope);
  if (json) {
    console.log(JSON.stringify({ ...identity, signedBy: signer.public.id }, null, 2));
    return true;
  }
  const colour = pc.createColors(process.stdout.isTTY === true);
  console.log(`${identity.name} ${identity.version} is signed: ${signer.public.line}`);
  console.log(colour.dim(identity.digest));
  return true;
}

async function readFolder(directory: string): Promise<BundleFiles> {
  try {
    const { files, problems } = await readBundleFiles(directory);
    if (problems.length === 0) return files;
    const lines = problems.map((it) => `  ${problemText(it)}`).join("\n");
    throw new GatewayError("POLICY_INVALID", `the bundle \`${directory}\` is not valid:\n${lines}`);
  } catch (error) {
    if (!(error instanceof Error && "syscall" in error)) throw error;
    const message = `cannot read the bundle \`${directory}\`: ${error.message}`;
    throw new GatewayError("POLICY_UNREADABLE", message, { cause: error });
  }
}

/** In the text, so that its comments stay. What can't be read is for the check that follows. */
function withVersion(files: BundleFiles, version: string): BundleFiles {
  const document = parseDocument(files.get(MANIFEST)?.toString() ?? "");
  if (document.errors.length > 0 || !document.has("version")) return files;
  document.set("version", version);
  return new Map([...files, [MANIFEST, Buffer.from(document.toString({ lineWidth: 0 }))]]);
}

function parseVersion(text: string): string {
  if (versionSchema.safeParse(text).success) return text;
  throw new InvalidArgumentError("It must be a version such as 1.4.0.");
}
