import { z } from "zod";
import { GatewayError } from "../errors.ts";
import type { SessionPackages } from "../packages/session-packages.ts";
import { ECOSYSTEMS } from "../policy/ecosystems/ecosystem.ts";
import { namingOf, purlOf } from "../policy/ecosystems/naming.ts";
import type { Session } from "../session/session.ts";
import { type CallContext, capability } from "./capability.ts";
import { choosePackages } from "./choose-packages.ts";
import { path, plain, sandbox, sessionId, targetPath, WORKSPACE } from "./fields.ts";
import { installOutcome, installResult } from "./install-result.ts";
import { runSteps } from "./install-run.ts";
import { installScriptsOf } from "./install-scripts.ts";
import { stat } from "./lookup.ts";
import type { Wanted } from "./managers/manager.ts";
import { MANAGERS } from "./managers/managers.ts";
import { oneLine, present } from "./render.ts";
import { refusalTexts, timeoutMs, timeoutOf } from "./run.ts";

const MAX_PACKAGES = 64;
const MAX_NAME_CHARS = 512;
const MAX_VERSION_CHARS = 256;

const input = z.strictObject({
  ecosystem: z.enum(ECOSYSTEMS).describe("Whose packages."),
  packages: z
    .array(
      z.strictObject({
        name: plain(MAX_NAME_CHARS).min(1),
        version: plain(MAX_VERSION_CHARS).min(1).optional(),
      }),
    )
    .min(1)
    .max(MAX_PACKAGES)
    .describe("Name as the registry has it, and an exact version; without, the newest that policy permits."),
  directory: path.default(WORKSPACE).describe("The project."),
  global: z.boolean().default(false).describe("npm: for the user, with programs in PATH, not for the project."),
  timeoutMs,
  sessionId,
});
type Input = z.output<typeof input>;

export const installPackage = capability({
  name: "installPackage",
  description:
    "Install packages by name and version: pip into <directory>/.venv, npm into the project. All or none. A refusal says why and which version would do; there is no other source to try.",
  annotations: { title: "Install packages", readOnly: false, destructive: true, idempotent: true, openWorld: false },
  input,
  output: installResult,
  offered: ({ packages }) => packages !== undefined,
  describe: (args) => {
    const packages = readPackages(args);
    const { ecosystem, global, timeoutMs, sessionId } = args;
    const naming = namingOf(ecosystem);
    if (global && !MANAGERS[ecosystem].global) {
      throw new GatewayError("INVALID_ARGUMENTS", `global: ${ecosystem} installs into the project only`);
    }
    const purls = packages.map(({ name, version }) => purlOf(naming, name, version));
    const directory = targetPath(args.directory);
    return {
      resource: sandbox(args),
      context: { ecosystem, packages: purls.toSorted() },
      audit: present({ ecosystem, packages: packages.map(present), directory, global, timeoutMs, sessionId }),
    };
  },
  run: async (args, context) => {
    const limitMs = timeoutOf({ timeoutMs: args.timeoutMs, background: false }, context);
    const wanted = readPackages(args);
    const { ecosystem } = args;
    const session = await context.session();
    const { packages, registry } = registryOf(session, args);
    const directory = targetPath(args.directory);
    await checkDirectory(session, directory, context);
    using _asked = packages.request(
      ecosystem,
      wanted.map((it) => it.name),
    );
    context.progress(`looking up ${wanted.map((it) => it.name).join(", ")}`);
    const choices = await choosePackages(ecosystem, wanted, { packages, signal: context.signal });
    const refused = choices.flatMap((it) => it.refused ?? []);
    if (refused.length > 0) return installOutcome({ args, refused, admitted: [], blocked: [], end: undefined });
    const chosen = choices.flatMap((it) => it.chosen ?? []);
    const manager = MANAGERS[ecosystem];
    const order = {
      packages: manager.exact ? chosen : wanted,
      directory,
      global: args.global,
      registry,
      installScripts: installScriptsOf(context.profile),
    };
    // What another call into the same project brings meanwhile is not of this one.
    return await session.turns.take(directory, context.signal, async () => {
      const marks = { packages: packages.mark, connections: session.egress.mark };
      const end = await runSteps(manager, order, { session, timeoutMs: limitMs, context });
      const { admitted, refused } = packages.since(marks.packages);
      const blocked = refusalTexts(session.egress.refusalsSince(marks.connections));
      return installOutcome({ args, refused, admitted, blocked, end });
    });
  },
});

/** In their one spelling. @throws GatewayError INVALID_ARGUMENTS */
function readPackages({ ecosystem, packages }: Input): readonly Wanted[] {
  const naming = namingOf(ecosystem);
  const seen = new Set<string>();
  return packages.map((given, index) => {
    const name = naming.readName(given.name);
    const refuse = (field: string, text: string, what: string) =>
      new GatewayError("INVALID_ARGUMENTS", `packages[${index}].${field}: \`${oneLine(text, 100)}\` ${what}`);
    if (name === undefined)
      throw refuse("name", given.name, `is no name of a package of ${ecosystem}, such as ${NAMES[ecosystem]}`);
    if (seen.has(name)) throw refuse("name", name, "is named twice");
    seen.add(name);
    if (given.version === undefined) return { name };
    const version = naming.readVersion(given.version);
    if (version !== undefined) return { name, version };
    throw refuse("version", given.version, "is no exact version; ranges, tags, URLs and paths are not taken");
  });
}

const NAMES = {
  pip: "`requests`",
  npm: "`lodash` or `@types/node`",
  apt: "`sqlite3`",
  cargo: "`serde_json`",
  go: "`github.com/google/uuid`",
  maven: "`com.google.guava:guava`",
} as const;

/** @throws GatewayError INVALID_ARGUMENTS when the profile permits none */
function registryOf({ egress }: Session, { ecosystem }: Input): { packages: SessionPackages; registry: string } {
  const { packages } = egress;
  const registry = packages?.base(ecosystem);
  if (packages && registry !== undefined) return { packages, registry };
  throw new GatewayError("INVALID_ARGUMENTS", `ecosystem: the profile permits no packages of ${ecosystem}`);
}

/** @throws GatewayError FILE_NOT_FOUND, PATH_IS_LINK, NOT_A_DIRECTORY */
async function checkDirectory({ container }: Session, directory: string, { signal }: CallContext): Promise<void> {
  const { kind } = await stat(container, directory, signal);
  if (kind !== "directory")
    throw new GatewayError("NOT_A_DIRECTORY", `\`${oneLine(directory, 4_096)}\` is no directory`);
}
