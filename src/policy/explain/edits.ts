import { getDomain } from "tldts";
import { pathAncestors } from "../facts.ts";
import { isNode } from "../literals.ts";
import { type Asked, COSTS, type Edit, leftOut, stringsOf, withinLimits } from "./edit.ts";
import { simpleCommand } from "./simple-command.ts";

/** Where an agent may usually be, the likeliest first. */
const PLACES = ["/workspace", "/tmp", "/home/agent"] as const;
/** Where a program's path and its name are the same program; `/tmp/git` is another one than `git`. */
const PROGRAM_FOLDERS = ["/bin", "/sbin", "/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"];
const MAX_VARIABLES = 16;
/** A policy's folders that are tried. */
const MAX_PLACES = 32;

/**
 * The edits of a call that leave its meaning, in a fixed order. None of them names another program, another file to read, or a host of
 * somebody else: what is proposed to an agent, it will try.
 */
export function editsOf(asked: Asked): readonly Edit[] {
  const of = EDITS.get(asked.tool);
  return of ? of(asked) : [];
}

const EDITS: ReadonlyMap<string, (asked: Asked) => Edit[]> = new Map([
  ["exec", (asked: Asked) => [...runEdits(asked), ...byName(asked)]],
  ["shell", (asked) => [...runEdits(asked), ...withoutShell(asked)]],
  ["stopProcess", ({ args }) => leftOut(args, ["signal"])],
  ["writeFile", (asked) => [...leftOut(asked.args, ["mode"]), ...falseOf("createParents"), ...movedTo(asked, "path")]],
  ["listDirectory", (asked) => [...withinLimits(asked, "depth"), ...leftOut(asked.args, ["depth"]), ...lower(asked)]],
  ["searchFiles", (asked) => [...leftOut(asked.args, ["glob"]), ...lower(asked)]],
  ["importFiles", (asked) => [...leftOut(asked.args, ["gitignore", "to"]), ...movedTo(asked, "to")]],
  ["exportFiles", (asked) => [...leftOut(asked.args, ["overwrite"]), ...lower(asked)]],
  ["installPackage", (asked) => [...leftOut(asked.args, ["global"]), ...withoutVersions(asked)]],
  ["connect", connectEdits],
]);

function runEdits(asked: Asked): Edit[] {
  return [
    ...withinLimits(asked, "timeoutMs"),
    ...leftOut(asked.args, ["terminal", "background", "timeoutMs"]),
    ...withoutVariables(asked),
    ...leftOut(asked.args, ["stdin"]),
    ...elsewhere(asked),
  ];
}

/** Without each variable, then without all. */
function withoutVariables({ args: { env } }: Asked): Edit[] {
  if (typeof env !== "object" || env === null) return [];
  const variables = Object.entries(env);
  if (variables.length === 0) return [];
  const without = variables.length === 1 ? [] : variables.slice(0, MAX_VARIABLES).map(([name]) => name);
  return [...without, undefined].map((name) => ({
    argument: "env",
    ...(name !== undefined && { value: Object.fromEntries(variables.filter(([it]) => it !== name)) }),
    cost: COSTS.option,
  }));
}

function elsewhere(asked: Asked): Edit[] {
  const folders = ["/workspace", ...stringsOf(asked, "cwd")];
  return [...new Set(folders)].slice(0, MAX_PLACES).map((value) => ({ argument: "cwd", value, cost: COSTS.place }));
}

function byName({ args: { argv } }: Asked): Edit[] {
  const [program, ...rest] = Array.isArray(argv) ? argv : [];
  if (typeof program !== "string") return [];
  const slash = program.lastIndexOf("/");
  if (!PROGRAM_FOLDERS.includes(program.slice(0, Math.max(slash, 0)))) return [];
  return [{ argument: "argv", value: [program.slice(slash + 1), ...rest], cost: COSTS.program }];
}

/** A script that is one simple command means the same to `exec`. */
function withoutShell({ args: { script }, request }: Asked): Edit[] {
  const argv = typeof script === "string" ? simpleCommand(script, request.context) : undefined;
  return argv ? [{ tool: "exec", argument: "argv", value: argv, instead: "script", cost: COSTS.tool }] : [];
}

function falseOf(argument: string): Edit[] {
  return [{ argument, value: false, cost: COSTS.option }];
}

/** What is written, under the same name in another folder. */
function movedTo(asked: Asked, argument: string): Edit[] {
  const { resource } = asked.request;
  if (resource.type !== "path") return [];
  const name = resource.path.slice(resource.path.lastIndexOf("/") + 1);
  if (name === "") return [];
  const named = stringsOf(asked, "resource");
  const exact = named.filter((it) => it.endsWith(`/${name}`));
  const below = [...PLACES, ...named].map((it) => (it === "/" ? `/${name}` : `${it}/${name}`));
  const values = [...new Set([...exact, ...below])].slice(0, MAX_PLACES);
  return values.map((value) => ({ argument, value, cost: COSTS.place }));
}

/** What is looked through, less of it: a folder below, that policies name or where an agent usually is. */
function lower(asked: Asked): Edit[] {
  const { resource } = asked.request;
  if (resource.type !== "path") return [];
  const folders = new Set<string>([...PLACES, ...stringsOf(asked, "resource")]);
  const inside = [...folders].filter((it) => it.startsWith("/") && pathAncestors(it).includes(resource.path));
  return inside.slice(0, MAX_PLACES).map((value) => ({ argument: "path", value, cost: COSTS.place }));
}

/** Which version it is then, is for policy to choose. */
function withoutVersions({ args: { packages } }: Asked): Edit[] {
  if (!Array.isArray(packages) || !packages.some((it) => isNode(it) && it["version"] !== undefined)) return [];
  const value = packages.map((it) => (isNode(it) ? { name: it["name"] } : it));
  return [{ argument: "packages", value, cost: COSTS.option }];
}

/** The usual port by HTTPS, and hosts of the same registrable domain that a policy names. */
function connectEdits(asked: Asked): Edit[] {
  const { port, scheme, host } = asked.args;
  const { resource } = asked.request;
  const owned = resource.type === "host" ? domainOf(resource.host) : null;
  const named = stringsOf(asked, "resource");
  const hosts = named.filter((it) => owned !== null && it !== host && domainOf(it) === owned);
  return [
    ...(port === undefined || port === 443 ? [] : [{ argument: "port", value: 443, cost: COSTS.limit }]),
    ...(scheme === undefined || scheme === "https" ? [] : [{ argument: "scheme", value: "https", cost: COSTS.limit }]),
    ...[...new Set(hosts)].slice(0, MAX_PLACES).map((value) => ({ argument: "host", value, cost: COSTS.place })),
  ];
}

/** What is registered by one owner, also below a suffix under which anybody gets a name; `null` for an address. */
function domainOf(host: string): string | null {
  return getDomain(host, { allowPrivateDomains: true });
}
