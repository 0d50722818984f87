import { posix } from "node:path";
import canonicalize from "canonicalize";
import { visible } from "../lib/visible.ts";
import { CONNECT } from "../policy/connect.ts";
import { INSTALL_PACKAGE, type PackageFacts } from "../policy/package.ts";
import type { Fact, PolicyRequest } from "../policy/request.ts";
import type { Asked } from "./approval.ts";

/** What else would be let through, when one request is allowed for a session. */
export interface Pattern {
  /** Equal for two requests if, and only if, allowing one for the session allows the other. */
  readonly key: string;
  /** The same, for the person who is asked. */
  readonly text: string;
}

/**
 * Programs whose second argument says what they do. Of others it may be anything: of `nohup`, `env` or `xargs` another program, of
 * `python3` a file that the agent rewrites. A program that is missing here costs a question more, no safety.
 */
const WITH_SUBCOMMANDS: ReadonlySet<string> = new Set(
  `apt apt-get aws az brew bundle cargo conda dotnet flyctl gcloud gem gh git glab go gradle helm hg kubectl mvn npm pip pip3 pnpm
   poetry podman docker pulumi rustup svn systemctl terraform tofu uv yarn`.split(/\s+/),
);
/** Their second argument is a program or a script of the agent's. */
const RUNS_ANYTHING: ReadonlySet<string> = new Set([
  "exec",
  "run",
  "run-script",
  "x",
  "dlx",
  "tool",
  "bisect",
  "submodule",
]);
const SUBCOMMAND = /^[a-z][a-z0-9-]*$/;

/**
 * The narrowest thing worth allowing for a session; `undefined` where the facts do not tell what would run (standard input, values of
 * variables), so that only this one call can be allowed. Pure.
 */
export function patternOf({ request, details }: Pick<Asked, "request" | "details">): Pattern | undefined {
  const { action, resource, context } = request;
  if (action === "exec") return execPattern(request);
  if (action === "shell") return shellPattern(request);
  if (action === "writeProcess") return undefined;
  if (action === "readFile" || action === "writeFile" || action === "editFile") return filePattern(request);
  if (action === CONNECT && resource.type === "host") {
    const { port, scheme, method } = context;
    const asked = method === undefined ? "connections" : `${method} requests`;
    const text = `${asked} to ${scheme}://${resource.host}:${port}, whatever the path`;
    return pattern(request, text, [resource.host, port ?? null, scheme ?? null, method ?? null]);
  }
  if (action === INSTALL_PACKAGE && resource.type === "package") return packagePattern(request, resource.facts);
  // Not all that a call is made of is a fact: all of it is shown.
  const shown = details.map(({ label, text }) => [label, text]);
  return pattern(request, `${action} again, exactly like this`, [{ ...resource }, context, shown]);
}

function execPattern(request: PolicyRequest): Pattern | undefined {
  const { argvPrefixes, argc, argv0, cwd } = request.context;
  const same = runFacts(request);
  if (same === undefined || !Array.isArray(argvPrefixes)) return undefined;
  const longest = argvPrefixes.map(readPrefix).toSorted((a, b) => b.length - a.length)[0] ?? [];
  const [program = "", subcommand = ""] = longest;
  if (program !== argv0) return undefined;
  if (WITH_SUBCOMMANDS.has(program) && SUBCOMMAND.test(subcommand) && !RUNS_ANYTHING.has(subcommand)) {
    const text = `${program} ${subcommand} with any further arguments, in ${visible(String(cwd))}`;
    return pattern(request, text, ["prefix", program, subcommand, ...same]);
  }
  // Policy sees the first arguments only: what is cut off could be something else the next time.
  if (longest.length !== argc) return undefined;
  const text = `exactly ${visible(JSON.stringify(longest))}, in ${visible(String(cwd))}`;
  return pattern(request, text, ["exact", longest, ...same]);
}

function shellPattern(request: PolicyRequest): Pattern | undefined {
  const { scriptSha256, cwd } = request.context;
  const same = runFacts(request);
  if (same === undefined || typeof scriptSha256 !== "string") return undefined;
  return pattern(request, `exactly this script, in ${visible(String(cwd))}`, [scriptSha256, ...same]);
}

/** What two runs must share; `undefined` when one has an input or variables, whose values are no facts. */
function runFacts({ context }: PolicyRequest): Fact[] | undefined {
  const { cwd, envNames, stdinBytes, background, terminal } = context;
  if (!Array.isArray(envNames) || envNames.length > 0 || stdinBytes !== 0) return undefined;
  if (typeof cwd !== "string" || typeof background !== "boolean" || typeof terminal !== "boolean") return undefined;
  return [cwd, background, terminal];
}

function filePattern(request: PolicyRequest): Pattern | undefined {
  const { action, resource, context } = request;
  if (resource.type !== "path" || resource.path === "/") return undefined;
  const directory = posix.dirname(resource.path);
  const mode = context["mode"] ?? null;
  const as = mode === null ? "" : `, with mode ${Number(mode).toString(8)}`;
  return pattern(request, `${action} of any file directly in ${visible(directory)}${as}`, [directory, mode]);
}

/** What is known against a version is part of it: one that is worse is another question. */
function packagePattern(request: PolicyRequest, facts: PackageFacts): Pattern {
  const { ecosystem, name, registry, advisories, licenses } = facts;
  const { knownMalicious, knownVulnerable, hasInstallScript, buildsFromSource, yanked, verified, withinPin } = facts;
  const flags = { knownMalicious, knownVulnerable, hasInstallScript, buildsFromSource, yanked, verified, withinPin };
  const text = `any version of ${ecosystem} package ${visible(name)} from ${visible(registry)} of which no more is known against it`;
  const lists = [advisories.toSorted(), licenses.toSorted(), facts.similarTo.toSorted()];
  return pattern(request, text, [ecosystem, name, registry, flags, lists]);
}

type Part = Fact | null | readonly Part[] | { readonly [name: string]: Fact | object };

function pattern({ action, resource }: PolicyRequest, text: string, parts: readonly Part[]): Pattern {
  return { key: canonicalize([action, resource.type, ...parts]) ?? "", text };
}

function readPrefix(text: unknown): readonly string[] {
  const argv: unknown = typeof text === "string" ? JSON.parse(text) : [];
  return Array.isArray(argv) ? argv.map(String) : [];
}
