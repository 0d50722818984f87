import type { Answers } from "./answers.ts";

/** The programs of a locked-down starter that names none. */
const FEW_PROGRAMS = ["git", "python3", "node", "rg", "jq", "ls", "cat", "head", "tail", "wc", "sort", "diff"];

/** Programs that may be run; `undefined`: any. */
export function programsOf({ base, programs }: Answers): readonly string[] | undefined {
  if (programs.length > 0) return programs;
  return base === "locked-down" ? FEW_PROGRAMS : undefined;
}

/** Cedar files by name. */
export function starterPolicies(answers: Answers): [name: string, text: string][] {
  return [
    ["files.cedar", filesText(answers)],
    ["programs.cedar", programsText(answers)],
    ["sessions.cedar", sessionsText(answers)],
  ];
}

function programsText(answers: Answers): string {
  const programs = programsOf(answers);
  return [
    programs === undefined ? ANY_PROGRAM : listedPrograms(answers, programs),
    SHELL[answers.shell],
    `// What runs may be watched, fed and stopped.\n${permit("processes", ["listProcesses", "readProcess", "writeProcess", "stopProcess"])}`,
    `// There is no root to become; say so before a model tries three ways of it. The wall is the container, whose user can gain no privileges.
@id("no-root")
@reason("the sandbox has no root user to become: work as \`agent\` below /workspace, /tmp or /home/agent")
forbid (principal, action == Glovebox::Action::"exec", resource)
when { ["sudo", "su", "doas"].contains(context.argv0) };
`,
  ].join("\n");
}

const ANY_PROGRAM = `// Any program may be run. What it does stays in the machine.
${permit("any-program", ["exec"])}`;

function listedPrograms({ base }: Answers, programs: readonly string[]): string {
  const strict = base === "locked-down";
  const conditions = [
    `[${programs.map((it) => JSON.stringify(it)).join(", ")}].contains(context.argv0)`,
    ...(strict
      ? ['context.cwd in Glovebox::Path::"/workspace"', "context.envNames.isEmpty()", "!context.terminal"]
      : []),
  ];
  return `// Exactly these programs, named as PATH finds them: a name with a slash is another argv0. Interpreters among them run whatever code they
// are given, and a program may start others: the sandbox contains them. For subcommands, see \`argvPrefixes\` in docs/policy.md.
@id("listed-programs")
permit (principal, action == Glovebox::Action::"exec", resource)
when {
${conditions.map((it) => `  ${it}`).join(" &&\n")}
};
`;
}

const SHELL: Readonly<Record<Answers["shell"], string>> = {
  yes: `// Shell scripts may be run, whatever they run: this permits every program. To permit some, see \`opaque\` and \`programs\` in docs/policy.md.
${permit("shell", ["shell"])}`,
  ask: `// Shell scripts may be run when a person allows it, each by itself.
${permit("shell", ["shell"])}
@id("ask-for-shell")
@outcome("ask")
@reason("a person has to allow each shell script")
forbid (principal, action == Glovebox::Action::"shell", resource);
`,
  no: "// No shell: nothing permits it.\n",
};

function filesText({ base }: Answers): string {
  const look = ["readFile", "listDirectory", "searchFiles"];
  const change = ["writeFile", "editFile"];
  if (base === "locked-down") {
    const place = 'resource in Glovebox::Path::"/workspace"';
    return `// The file tools see the workspace and nothing else.\n${permit("workspace-only", [...look, ...change], place)}`;
  }
  const mounts = `// Folders of the host that profile.yaml names under \`mounts\` may be copied: none, until you add one.
${permit("mounts", ["importFiles", "exportFiles"])}`;
  const open = `// The file tools may look at everything in the sandbox, and change it.\n${permit("files", [...look, ...change])}\n${mounts}`;
  if (base === "development") return open;
  return `${open}
// A forbid overrides every permit. \`in\` is true of a directory and of everything below it.
@id("own-places-only")
@reason("files may be written below /workspace, /tmp and /home/agent only")
forbid (
  principal,
  action in [
    Glovebox::Action::"writeFile",
    Glovebox::Action::"editFile",
    Glovebox::Action::"importFiles"
  ],
  resource
)
unless {
  resource in Glovebox::Path::"/workspace" ||
  resource in Glovebox::Path::"/tmp" ||
  resource in Glovebox::Path::"/home/agent"
};
`;
}

function sessionsText({ base }: Answers): string {
  const own = ["sessionStatus", "resetSession", "explainPolicy"];
  if (base === "locked-down") {
    return `// One session, the default one. An agent may ask about it, start it afresh, and ask what it may do.\n${permit("own-session", own)}`;
  }
  const more = [
    "openSession",
    "closeSession",
    "listSessions",
    "snapshotSession",
    "restoreSession",
    "forkSession",
    "deleteSnapshot",
    ...(base === "development" ? ["exposePort"] : []),
  ];
  return `// An agent may manage its own sessions and ask what it may do.\n${permit("sessions", [...own, ...more])}`;
}

function permit(id: string, actions: readonly string[], resource = "resource"): string {
  const named = actions.map((it) => `Glovebox::Action::"${it}"`);
  const [only, ...others] = named;
  const action = others.length === 0 ? `action == ${only}` : `action in [\n    ${named.join(",\n    ")}\n  ]`;
  return `@id("${id}")\npermit (\n  principal,\n  ${action},\n  ${resource}\n);\n`;
}
