import { printable } from "../lib/text.ts";
import type { PastDecision } from "./past.ts";
import type { PolicyRequest } from "./request.ts";

const MAX_WORD_CHARS = 80;
const MAX_CHARS = 160;

type About = Pick<PastDecision, "request" | "arguments">;

/** What a call was about in a few words, safe for a terminal: `exec npm install left-pad`, `writeFile /workspace/a.txt`. */
export function wordsOf(decision: About): string {
  const { request } = decision;
  return words([request.action, ...(programOf(request) ?? placeOf(request)), ...detailOf(decision)]);
}

/** Of what acts on the sandbox as a whole. */
function detailOf({ request: { action, resource, context }, arguments: args }: About): string[] {
  if (resource.type !== "session") return [];
  const { skill, within: _, ...parameters } = context;
  if (action === "useSkill") return [nameOf(skill)];
  // A skill's parameters may have any name.
  if (skill !== undefined) return Object.entries(parameters).map(([name, value]) => `${name}=${text(value)}`);
  if (typeof args === "object" && args !== null && "script" in args) return [text(args.script)];
  const { packages, scriptSha256, processId, snapshot, port } = context;
  const facts = Array.isArray(packages) ? packages : [scriptSha256 ?? processId ?? snapshot ?? port];
  return facts.filter((it) => it !== undefined).map(text);
}

/** The same without what differs between calls of a kind: a program's arguments behind its first, a file's name. */
export function kindOf({ request }: About): string {
  const { action, resource } = request;
  const program = programOf(request);
  // A subcommand is a part of the kind; a path or an option is not.
  if (program)
    return words([action, ...program.slice(0, 1), ...program.slice(1, 2).filter((it) => /^[a-z][a-z0-9-]*$/.test(it))]);
  if (resource.type === "path") return words([action, `${resource.path.slice(0, resource.path.lastIndexOf("/"))}/…`]);
  if (resource.type === "package") return words([action, `${resource.facts.ecosystem}:${resource.facts.name}`]);
  return words([action, ...placeOf(request)]);
}

/** As far as policy saw it: the first eight arguments. */
function programOf({ action, context }: PolicyRequest): string[] | undefined {
  if (action !== "exec") return undefined;
  const { argv0, argvPrefixes } = context;
  if (typeof argv0 !== "string") return undefined;
  const longest: unknown = Array.isArray(argvPrefixes) ? argvPrefixes.at(-1) : undefined;
  const argv: unknown = typeof longest === "string" ? JSON.parse(longest) : [];
  return Array.isArray(argv) && argv.length > 0 ? argv.map(String) : [argv0];
}

function placeOf({ resource, context }: PolicyRequest): string[] {
  switch (resource.type) {
    case "session":
      return [];
    case "path":
      return [resource.path];
    case "host":
      return [`${resource.host}:${text(context["port"])}`];
    case "package":
      return [`${resource.facts.ecosystem}:${resource.facts.name}@${resource.facts.version}`];
  }
}

function nameOf(skill: unknown): string {
  return typeof skill === "object" && skill !== null && "name" in skill ? text(skill.name) : "";
}

function text(fact: unknown): string {
  return typeof fact === "string" ? fact : JSON.stringify(fact);
}

function words(all: readonly string[]): string {
  return printable(all.map(word).join(" "), MAX_CHARS);
}

/** Quoted where it would be taken for something else than one word. */
function word(it: string): string {
  const short = printable(it, MAX_WORD_CHARS);
  return /^[^\s"']+$/u.test(short) ? short : JSON.stringify(short);
}
