import { hash } from "node:crypto";
import { z } from "zod";
import { redact } from "../audit/redact.ts";
import { ascii, visible, visibleLines } from "../lib/visible.ts";
import type { PolicyRequest } from "../policy/request.ts";
import type { Detail } from "./approval.ts";

/** A script, an input or the like is shown up to this; then its size and digest stand for the rest. UTF-16 code units. */
const MAX_BODY_CHARS = 2_000;
const MAX_LINE_CHARS = 4_096;
const MAX_EDITS = 8;
const VARIABLE = "environment";
/** Their last line says how large they are, and their digest. */
const BODIES = /^(?:standard input|content|edit \d+, (?:replaces|by))$/;

/** Of a call's validated arguments what is no fact of its request, and an approver has to see. */
const argumentsSchema = z
  .object({
    argv: z.array(z.string()),
    script: z.string(),
    stdin: z.string(),
    env: z.record(z.string(), z.string()),
    content: z.string(),
    encoding: z.string(),
    edits: z.array(z.object({ oldText: z.string(), newText: z.string() })),
    pattern: z.string(),
  })
  .partial();
type Arguments = z.infer<typeof argumentsSchema>;

/** Arguments that have lines of their own here, are shown as facts or as the resource, or change nothing but what comes back. */
const SHOWN_OTHERWISE: ReadonlySet<string> = new Set([
  ...Object.keys(argumentsSchema.shape),
  ...["path", "host", "ecosystem", "packages", "sessionId", "yieldMs", "maxOutputBytes"],
]);

/** Facts that the resource's lines show. */
const OF_RESOURCES: ReadonlySet<string> = new Set([
  ...["ecosystem", "packages", "port", "scheme", "method", "path", "address"],
]);
/** Facts that the arguments' lines show better. */
const OF_ARGUMENTS: Readonly<Record<string, readonly string[]>> = {
  argv: ["argv0", "argvPrefixes", "argc"],
  script: ["scriptSha256", "scriptBytes"],
  stdin: ["stdinBytes"],
  env: ["envNames"],
  content: ["sha256", "bytes"],
  edits: ["edits"],
  pattern: ["patternBytes"],
};

/**
 * What an approver sees of a request: exactly what would run, with nothing hidden in it. `args` are the call's validated arguments; absent
 * for what a program in the sandbox does by itself. Pure.
 */
export function detailsOf(tool: string, args: unknown, request: PolicyRequest): readonly Detail[] {
  const skill = skillSchema.safeParse(request.context["skill"]).data;
  if (skill) return skillDetails(tool, args, request, skill);
  const parsed = argumentsSchema.safeParse(args ?? {});
  const given = parsed.success ? parsed.data : {};
  const shown = new Set(Object.keys(given).flatMap((it) => OF_ARGUMENTS[it] ?? []));
  return [
    line("tool", tool),
    ...argumentDetails(given),
    ...resourceDetails(request),
    ...Object.entries(request.context)
      .filter(([name, fact]) => !shown.has(name) && !OF_RESOURCES.has(name) && !isNothing(fact))
      .map(([name, fact]) => factDetail(name, fact)),
    // INVARIANT: an argument that nothing above knows is shown too, so that a new one can't be hidden.
    ...Object.entries(args ?? {})
      .filter(([name, value]) => !SHOWN_OTHERWISE.has(name) && !(name in request.context) && !isNothing(value))
      .map(([name, value]) => factDetail(name, value)),
  ];
}

/** As `skillFact` gives it. No tool of Glovebox's own but `useSkill` has this fact, and a skill's parameter can't have its name. */
const skillSchema = z.strictObject({
  name: z.string(),
  version: z.string(),
  digest: z.string(),
  pinned: z.boolean(),
  signedBy: z.array(z.string()),
});

/**
 * A skill's parameters may have any name and mean anything by any value: none is taken for one of Glovebox's own arguments, none is left out, and each is
 * labelled so that it can't be taken for another line.
 */
function skillDetails(
  tool: string,
  args: unknown,
  { resource, context }: PolicyRequest,
  { name, version, digest, pinned, signedBy }: z.output<typeof skillSchema>,
): readonly Detail[] {
  // What follows from the arguments is none.
  const { skill: _, within: __, ...facts } = context;
  const { sessionId: ___, ...given } = { ...(args ?? {}) } as Record<string, unknown>;
  const vouched = [pinned ? "pinned" : "not pinned", ...signedBy.map((it) => `signed by ${it}`)];
  const shown = Object.entries({ ...given, ...facts }).filter(([, value]) => value !== undefined);
  return [
    line("tool", tool),
    line("skill", [`${name} ${version}`, digest, ...vouched].join(", ")),
    ...(resource.type === "session" && resource.id !== "default" ? [line("session", resource.id)] : []),
    ...shown.map(([of, value]) => line(`argument ${of}`, typeof value === "string" ? value : JSON.stringify(value))),
  ];
}

/** For what is no argument of the call itself: see `Description.runs`. */
export function runDetails(runs: readonly (readonly string[])[]): readonly Detail[] {
  return runs.map((argv) => asciiLine("runs", JSON.stringify(argv)));
}

function factDetail(name: string, value: unknown): Detail {
  if (name === "mode" && typeof value === "number") return line(name, value.toString(8).padStart(4, "0"));
  return line(name, typeof value === "string" ? value : JSON.stringify(value));
}

/**
 * Details as the audit log keeps them: of bodies their sizes and digests, of variables their names. Scripts are kept; see `shell.ts`. The whole is
 * bound by the question's digest all the same.
 */
export function recorded(details: readonly Detail[]): readonly Detail[] {
  return details.map(({ label, text }) => {
    if (BODIES.test(label)) return { label, text: text.slice(text.lastIndexOf("\n") + 1) };
    return label === VARIABLE ? { label, text: text.slice(0, text.indexOf("=")) } : { label, text };
  });
}

function argumentDetails({ argv, script, stdin, env, content, encoding, edits, pattern }: Arguments): Detail[] {
  return [
    ...(argv ? [line("command", argv.map(quoted).join(" ")), asciiLine("argv", JSON.stringify(argv))] : []),
    ...(script === undefined ? [] : [body("script", Buffer.from(script))]),
    ...(stdin ? [body("standard input", Buffer.from(stdin))] : []),
    ...Object.entries(env ?? {}).map(([name, value]) => line(VARIABLE, `${name}=${shownValue(name, value)}`)),
    ...(content === undefined
      ? []
      : [body("content", Buffer.from(content, encoding === "base64" ? "base64" : "utf8"))]),
    ...editDetails(edits ?? []),
    ...(pattern === undefined ? [] : [line("pattern", pattern)]),
  ];
}

function editDetails(edits: NonNullable<Arguments["edits"]>): Detail[] {
  const rest = edits.length - MAX_EDITS;
  const sum = hash("sha256", JSON.stringify(edits));
  return [
    ...edits
      .slice(0, MAX_EDITS)
      .flatMap(({ oldText, newText }, index) => [
        body(`edit ${index + 1}, replaces`, Buffer.from(oldText)),
        body(`edit ${index + 1}, by`, Buffer.from(newText)),
      ]),
    ...(rest > 0 ? [line("edits", `(CUT HERE: ${rest} more are not shown; sha256 of all as JSON ${sum})`)] : []),
  ];
}

function resourceDetails({ resource, context }: PolicyRequest): Detail[] {
  const { ecosystem, packages, port, scheme, method, path } = context;
  if (resource.type === "path") return [line("path", resource.path)];
  if (resource.type === "host") {
    const where = `${scheme}://${resource.host}:${port}`;
    return [
      line(
        "connects to",
        method === undefined ? where : `${method} ${where}${path ?? " (a path of more than one spelling)"}`,
      ),
    ];
  }
  if (resource.type === "package") {
    const { purl, name, version, registry, requested, advisories, knownMalicious, hasInstallScript } = resource.facts;
    const known = [knownMalicious ? "known to be malicious" : [], hasInstallScript ? "runs an install script" : []];
    return [
      asciiLine("package", purl),
      line("name and version", `${name} ${version} (${resource.facts.ecosystem}, from ${registry})`),
      line("asked for", requested ? "by name, in this call" : "by something else that is installed, or by a program"),
      ...[...known.flat(), ...advisories.map((it) => `advisory ${it}`)].map((it) => line("beware", it)),
    ];
  }
  if (Array.isArray(packages)) return packages.map((it) => asciiLine(`${ecosystem} package`, String(it)));
  return [
    ...(resource.id === "default" ? [] : [line("session", resource.id)]),
    ...(port === undefined ? [] : [line("port", String(port))]),
  ];
}

/**
 * Values decide what runs (`GIT_SSH_COMMAND`), and may be secrets: then how long they are has to do. One that a program could run is shown,
 * whatever it looks like besides: else a command would be hidden by a token in it, or by the name of its variable.
 */
function shownValue(name: string, value: string): string {
  const mayRun = !/^\w[\w+/=.~:-]*$/.test(value) || /ASK_?PASS|COMMAND|CMD|HELPER|EXEC|PROGRAM/i.test(name);
  const [kept] = Object.values(redact({ [name]: value }) ?? {});
  if (mayRun || !/^\[redacted:[a-z0-9-]+\]$/.test(String(kept))) return quoted(value);
  return `(looks like a secret: ${Buffer.byteLength(value)} bytes)`;
}

/** The beginning of what is long, and always by what the whole is known. */
function body(label: string, bytes: Buffer): Detail {
  const text = bytes.toString("utf8");
  const sum = `${bytes.length} bytes, sha256 ${hash("sha256", bytes)}`;
  if (!Buffer.from(text).equals(bytes)) return { label, text: `(binary) ${sum}` };
  if (text.length <= MAX_BODY_CHARS) return { label, text: `${visibleLines(text)}\n(${sum})` };
  const shown = visibleLines(text.slice(0, MAX_BODY_CHARS));
  return {
    label,
    text: `${shown}\n(CUT HERE: ${text.length - MAX_BODY_CHARS} more characters are not shown; in all ${sum})`,
  };
}

function line(label: string, text: string): Detail {
  return { label: visible(label), text: cut(visible(text), text) };
}

function asciiLine(label: string, text: string): Detail {
  return { label: visible(label), text: cut(ascii(text), text) };
}

function cut(shown: string, whole: string): string {
  if (shown.length <= MAX_LINE_CHARS) return shown;
  const sum = `${Buffer.byteLength(whole)} bytes, sha256 ${hash("sha256", whole)}`;
  return `${shown.slice(0, MAX_LINE_CHARS)} (CUT HERE: the rest is not shown; in all ${sum})`;
}

/** As a POSIX shell would have to be given it. */
function quoted(argument: string): string {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", "'\\''")}'`;
}

function isNothing(value: unknown): boolean {
  if (value === undefined || value === false || value === 0 || value === "") return true;
  return Array.isArray(value) && value.length === 0;
}
