import { posix } from "node:path";
import { factsIn, textIn, textsIn } from "../facts.ts";
import type { Json } from "../record.ts";

/** OCSF's `activity_id` of API Activity, for what a tool does. */
export const DOES = { create: 1, read: 2, update: 3, delete: 4 } as const;

interface Tool {
  readonly does: keyof typeof DOES;
  /** It starts a program. */
  readonly runs?: true;
  /** It works on what its `path` names. */
  readonly works?: "file" | "folder";
}

/** Of Glovebox's own tools. Those of skills are not known here. */
const TOOLS: ReadonlyMap<string, Tool> = new Map(
  Object.entries({
    exec: { does: "create", runs: true },
    shell: { does: "create", runs: true },
    readProcess: { does: "read" },
    writeProcess: { does: "update" },
    stopProcess: { does: "delete" },
    listProcesses: { does: "read" },
    readFile: { does: "read", works: "file" },
    writeFile: { does: "update", works: "file" },
    editFile: { does: "update", works: "file" },
    listDirectory: { does: "read", works: "folder" },
    searchFiles: { does: "read", works: "folder" },
    installPackage: { does: "create" },
    importFiles: { does: "create", works: "folder" },
    exportFiles: { does: "read", works: "folder" },
    openSession: { does: "create" },
    closeSession: { does: "delete" },
    listSessions: { does: "read" },
    sessionStatus: { does: "read" },
    resetSession: { does: "update" },
    snapshotSession: { does: "create" },
    restoreSession: { does: "update" },
    forkSession: { does: "create" },
    deleteSnapshot: { does: "delete" },
    exposePort: { does: "update" },
    explainPolicy: { does: "read" },
    findCapability: { does: "read" },
    useSkill: { does: "read" },
  } satisfies Record<string, Tool>),
);

export function toolOf(name: string): Tool | undefined {
  return TOOLS.get(name);
}

/** What a call is about besides its tool, as far as later records of it need it. */
export type Target =
  | { readonly kind: "program"; readonly name: string; readonly commandLine: string; readonly directory?: string }
  | { readonly kind: "file" | "folder"; readonly path: string };

/** UTF-16 code units: a longer command line or path is cut. Targets of many calls are held in memory. */
const MAX_CHARS = 4_096;
const SHELL = "bash";

/** `undefined` for calls of other tools, and for arguments that are kept in another form: digests, or such as did not fit. */
export function targetOf(tool: string, args: Json): Target | undefined {
  const known = toolOf(tool);
  const facts = factsIn(args);
  if (known?.works !== undefined) {
    const path = textIn(facts, "path");
    return path === undefined ? undefined : { kind: known.works, path: cut(path) };
  }
  if (!known?.runs) return undefined;
  const directory = textIn(facts, "cwd");
  const where = directory === undefined ? {} : { directory: cut(directory) };
  const script = textIn(facts, "script");
  if (script !== undefined) return { kind: "program", name: SHELL, commandLine: cut(script), ...where };
  const argv = textsIn(facts, "argv");
  const [program] = argv;
  if (program === undefined) return undefined;
  const commandLine = cut(argv.slice(0, MAX_CHARS).map(quoted).join(" "));
  return { kind: "program", name: cut(posix.basename(program) || program), commandLine, ...where };
}

function cut(text: string): string {
  return text.length <= MAX_CHARS ? text : `${text.slice(0, MAX_CHARS - 1).toWellFormed()}…`;
}

/** As a shell would have it written, so that arguments can be told apart. */
function quoted(argument: string): string {
  return /^[\w@%+=:,./-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", "'\\''")}'`;
}
