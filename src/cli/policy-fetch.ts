import { dirname, resolve } from "node:path";
import type { Command } from "commander";
import { z } from "zod";
import { loadConfig } from "../config.ts";
import { readAuthorities } from "../egress/authorities.ts";
import { GatewayError } from "../errors.ts";
import { requireMeant } from "../policy/distribution/fetch.ts";
import { readPublicKey } from "../policy/distribution/keys.ts";
import { verifyFiles, versionSchema } from "../policy/distribution/manifest.ts";
import { placeBundle } from "../policy/distribution/place.ts";
import { openSource } from "../policy/distribution/reader.ts";
import { type BundleSource, bundleSourceSchema } from "../policy/distribution/source.ts";
import { LAYERS } from "../policy/layer.ts";
import type { LoadPorts } from "../policy/load.ts";
import { loadBundleFiles } from "../policy/load.ts";
import { answer } from "./policy-answer.ts";
import type { PolicyContext } from "./policy-context.ts";
import { printVerified } from "./policy-verify.ts";
import { several } from "./several.ts";

interface Options {
  readonly to: string;
  readonly key: readonly string[];
  readonly ref?: string;
  readonly commit?: string;
  readonly path?: string;
  readonly name?: string;
  readonly layer?: string;
  readonly minimumVersion?: string;
  readonly upstreamProxy?: string;
  readonly trustedCa?: string;
  readonly json?: boolean;
}

const wantedSchema = z.strictObject({
  name: z.string().optional(),
  layer: z.enum(LAYERS).optional(),
  minimumVersion: versionSchema.optional(),
});

/** `glovebox policy fetch`: a signed bundle, from where it is published into a folder. */
export function addFetch(command: Command, context: PolicyContext): void {
  command
    .command("fetch")
    .argument("<source>", "an https URL of a .tar.gz, git+https://…, git+ssh://…, git+file://… or a folder")
    .requiredOption("--to <folder>", "where the bundle goes; one that is there is replaced by a newer one only")
    .requiredOption("--key <key>", "a public key that is trusted, or its file; of several, any one is enough", several)
    .option("--ref <name>", "of a repository: a branch or a tag")
    .option("--commit <id>", "of a repository: exactly this commit")
    .option("--path <folder>", "of a repository: the bundle's folder")
    .option("--name <name>", "the bundle that it must be")
    .option("--layer <layer>", `where it must be made for, if for anywhere: ${LAYERS.join(", ")}`)
    .option("--minimum-version <version>", "the least version that it must have")
    .option("--upstream-proxy <url>", "the network's own proxy (or GLOVEBOX_UPSTREAM_PROXY)")
    .option("--trusted-ca <file>", "authorities to trust besides the system's (or GLOVEBOX_TRUSTED_CA)")
    .option("--json", "print what was brought as JSON")
    .description("bring a signed bundle, verify and check it, and put it into a folder")
    .addHelpText(
      "after",
      `
Examples:
  $ glovebox policy fetch https://policy.example.org/acme.tar.gz --to ./acme --key acme-policy.key.pub
  $ glovebox policy fetch git+https://git.example.org/policy.git --ref v1.4.0 --path acme --to ./acme --key ed25519:…`,
    )
    .action((source: string, options: Options) => answer(async () => fetchTo(source, options, await context.load())));
}

async function fetchTo(text: string, options: Options, context: LoadPorts): Promise<boolean> {
  const source = sourceOf(text, options);
  const { name, layer, minimumVersion } = options;
  const wanted = valid(wantedSchema, { name, layer, minimumVersion });
  const keys = await Promise.all(options.key.map(readPublicKey));
  const to = resolve(options.to);
  const files = await openSource(source, portsOf(options, dirname(to)))(new AbortController().signal);
  const bundle = verifyFiles(files, keys);
  requireMeant(bundle, wanted);
  await loadBundleFiles(bundle.files, text, context);
  const isNew = await placeBundle(to, bundle, keys);
  const { files: _, ...known } = bundle;
  if (options.json) console.log(JSON.stringify({ ...known, to, changed: isNew }, null, 2));
  else printVerified(bundle);
  if (!options.json) console.log(isNew ? `it is in ${to}` : `it was in ${to} before`);
  return true;
}

function sourceOf(text: string, { ref, commit, path }: Options): BundleSource {
  const [kind, value] = text.startsWith("git+")
    ? ["git", text.slice("git+".length)]
    : [/^[a-z][a-z0-9+.-]*:\/\//.test(text) ? "url" : "directory", text];
  const at = kind === "directory" ? resolve(value) : value;
  return valid(bundleSourceSchema, { [kind]: at, ref, commit, path });
}

function portsOf({ upstreamProxy, trustedCa }: Options, scratchDirectory: string) {
  const given = {
    ...(upstreamProxy !== undefined && { upstreamProxy }),
    ...(trustedCa !== undefined && { trustedCa }),
  };
  const config = loadConfig(given, process.env);
  return {
    scratchDirectory,
    authorities: async () => (await readAuthorities(config.trustedCa === undefined ? [] : [config.trustedCa])).all,
    ...(config.upstreamProxy !== undefined && { upstreamProxy: config.upstreamProxy }),
  };
}

/** @throws GatewayError INVALID_ARGUMENTS */
function valid<T>(schema: z.ZodType<T>, value: unknown): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new GatewayError("INVALID_ARGUMENTS", z.prettifyError(parsed.error));
}
