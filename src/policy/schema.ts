import { USAGE_FACTS } from "./usage.ts";

/**
 * The Cedar schema that every bundle is validated against and every request is checked with. One action a tool; its context is
 * what `describe` of the capability of the same name gives (a test keeps them equal). And `connect`, which is no tool (`connect.ts`).
 * `cwd`, `path` and `mountPath` are path entities, so that policies
 * say `context.cwd in Glovebox::Path::"/workspace"`; Cedar's `like` would let `*` cross a `/`.
 */
export const SCHEMA = `namespace Glovebox {
  // Over sliding windows that end now (usage.ts).
  type Usage = {
${USAGE_FACTS.map((it) => `    ${it}: Long,`).join("\n")}
  };
  // Who calls. The client's name and version are what it says of itself.
  entity Principal {
    client: String, clientVersion: String, transport: String,
    // In all, and by the session that the request is for.
    usage: Usage, session: Usage,
    // Sessions that are open now, and whether the one that the request is for is among them.
    openSessions: Long, sessionIsOpen: Bool,
    // How far the slowest receiver of the audit log is behind it; 1000000000 where nobody receives it.
    logging: { lagRecords: Long, lagSeconds: Long },
  };
  // The sandbox as a whole.
  entity Session;
  // An absolute, normalised path in the sandbox; in all the directories above it, up to "/".
  entity Path in [Path];
  // A host's name, lower-case, or an address; a name in all the domains that it lies in.
  entity Host in [Host];
  // One version of a package: "pkg:npm/%40acme/x@1.0.0", in "pkg:npm/%40acme/x", "pkg:npm/%40acme" and "pkg:npm".
  entity Package in [Package] {
    // "pip", "npm", "apt", "cargo", "go" or "maven".
    ecosystem: String,
    name: String,
    // What the name stands below: "@acme", "github.com/google".
    scope?: String,
    version: String,
    // Whether the running call asks for it by name.
    requested: Bool,
    // Since it was published; absent when the registry doesn't say.
    ageHours?: Long,
    // One of them suffices; empty when nothing is known.
    licenses: Set<String>,
    knownMalicious: Bool,
    knownVulnerable: Bool,
    // Ids of the advisories about this version.
    advisories: Set<String>,
    // Since the last import; absent when there was none of this ecosystem.
    advisoriesAgeHours?: Long,
    hasInstallScript: Bool,
    buildsFromSource: Bool,
    yanked: Bool,
    // Whether the registry gives a digest, by which what comes is checked.
    verified: Bool,
    // Popular packages whose names are one edit away.
    similarTo: Set<String>,
    // Of the profile's pins.
    withinPin: Bool,
    // Host and port.
    registry: String,
  };
  // The same within a mount, of which "/" is the root.
  entity MountPath in [MountPath];

  action "exec" appliesTo { principal: [Principal], resource: [Session], context: {
    cwd: Path, stdinBytes: Long, background: Bool,
    // Whether it gets a terminal, where programs do more than their arguments say: git starts a pager, python3 asks for more.
    terminal: Bool,
    // Names of variables that the call adds to the environment.
    envNames: Set<String>,
    // 0 when the call leaves it to the profile.
    timeoutMs: Long,
    // First argument as given: a name that PATH is searched for, or a path.
    argv0: String,
    // JSON of the first 1, 2, … 8 arguments: argvPrefixes.contains("[\\"git\\",\\"push\\"]").
    argvPrefixes: Set<String>,
    argc: Long,
  } };
  action "shell" appliesTo { principal: [Principal], resource: [Session], context: {
    cwd: Path, envNames: Set<String>, stdinBytes: Long, background: Bool, terminal: Bool, timeoutMs: Long,
    scriptBytes: Long,
    // Lower-case hexadecimal.
    scriptSha256: String,
    // Unless true, the script runs the commands below and nothing else. When true, they are what could be found, and it may run anything.
    opaque: Bool,
    // First words: ["git", "ls"].containsAll(context.programs).
    programs: Set<String>,
    // JSON of the first two words of each command, or of its only one: "[\\"git\\",\\"status\\"]".
    subcommands: Set<String>,
    // JSON of all words of each.
    commands: Set<String>,
    commandCount: Long,
  } };
  action "listProcesses" appliesTo { principal: [Principal], resource: [Session], context: {} };
  action "readProcess" appliesTo { principal: [Principal], resource: [Session], context: { processId: String } };
  action "writeProcess" appliesTo { principal: [Principal], resource: [Session], context: { processId: String, stdinBytes: Long } };
  action "stopProcess" appliesTo { principal: [Principal], resource: [Session], context: { processId: String, signal: String } };

  action "readFile" appliesTo { principal: [Principal], resource: [Path], context: { encoding: String } };
  action "writeFile" appliesTo { principal: [Principal], resource: [Path], context: {
    bytes: Long,
    // Of the content, lower-case hexadecimal.
    sha256: String,
    encoding: String,
    createParents: Bool,
    // Whether the call names the content that it means to replace.
    ifHash: Bool,
    // Permission bits as a number (420 is 0644); absent when the call leaves them.
    mode?: Long,
  } };
  action "editFile" appliesTo { principal: [Principal], resource: [Path], context: { edits: Long, dryRun: Bool } };
  action "listDirectory" appliesTo { principal: [Principal], resource: [Path], context: { depth: Long } };
  action "searchFiles" appliesTo { principal: [Principal], resource: [Path], context: { patternBytes: Long, glob?: String } };
  // The path is where it goes.
  action "importFiles" appliesTo { principal: [Principal], resource: [Path], context: {
    mount: String, mountPath: MountPath, gitignore: Bool,
  } };
  // The path is what is exported, mountPath where it goes.
  action "exportFiles" appliesTo { principal: [Principal], resource: [Path], context: {
    mount: String, mountPath: MountPath, overwrite: Bool, dryRun: Bool,
  } };

  action "openSession" appliesTo { principal: [Principal], resource: [Session], context: {} };
  action "closeSession" appliesTo { principal: [Principal], resource: [Session], context: {} };
  action "listSessions" appliesTo { principal: [Principal], resource: [Session], context: {} };
  action "sessionStatus" appliesTo { principal: [Principal], resource: [Session], context: {} };
  action "resetSession" appliesTo { principal: [Principal], resource: [Session], context: {} };
  // By the name that the principal gave it.
  action "snapshotSession" appliesTo { principal: [Principal], resource: [Session], context: { snapshot: String } };
  action "restoreSession" appliesTo { principal: [Principal], resource: [Session], context: { snapshot: String } };
  // Without a snapshot the session is copied as it is now.
  action "forkSession" appliesTo { principal: [Principal], resource: [Session], context: { snapshot?: String } };
  action "deleteSnapshot" appliesTo { principal: [Principal], resource: [Session], context: { snapshot: String } };

  // A port of the sandbox becomes reachable on the gateway's own computer, or ceases to be.
  action "exposePort" appliesTo { principal: [Principal], resource: [Session], context: { port: Long } };

  // The tool, on the sandbox as a whole; and each package that is on its way into it, whoever asked for it.
  action "installPackage" appliesTo { principal: [Principal], resource: [Session, Package], context: {
    ecosystem: String,
    // Of the tool, what it was asked for, with the version where the call names one; of a package, itself.
    packages: Set<String>,
  } };

  // A program in the sandbox connects to something.
  action "connect" appliesTo { principal: [Principal], resource: [Host], context: {
    port: Long,
    // "http" or "https".
    scheme: String,
    // When the program gave an address in place of a name.
    address?: ipaddr,
    // Of one request, where the proxy reads requests: plain HTTP, and hosts that a policy about method or path, or a secret, is for.
    method?: String,
    // Decoded, without the query.
    path?: Path,
  } };

  // What has to do with skills: loading them, and whatever they can do. Each skill's actions are besides in "skill:<name>"; the skills that are
  // there add them ("git-repo_clone"), with their parameters as facts. "skill" is which one it is,
  // "within" what all of the call's paths lie in: the deepest directory that does, or the path itself where there is one; absent where there is none.
  type Skill = {
    name: String,
    version: String,
    // Of all its files: "sha256:…".
    digest: String,
    // Whether the lock file beside it has this digest.
    pinned: Bool,
    // Fingerprints of the keys that have signed that lock file: "SHA256:…".
    signedBy: Set<String>,
  };
  action "skills";
  action "findCapability" in ["skills"] appliesTo { principal: [Principal], resource: [Session], context: {} };
  action "useSkill" in ["skills"] appliesTo { principal: [Principal], resource: [Session], context: { skill: Skill } };

  action "explainPolicy" appliesTo { principal: [Principal], resource: [Session], context: { tool: String } };
}
`;

/** The names of all actions. */
export const ACTIONS: readonly string[] = [...SCHEMA.matchAll(/^ {2}action "(\w+)".* appliesTo/gm)].map(
  ([, name = ""]) => name,
);

/** All that has to do with skills. */
export const SKILLS = "skills";

/** What a fact is for Cedar, where it is no string: an entity, or an address. */
export type FactType = "Path" | "MountPath" | "ipaddr";

/** Such facts of Glovebox's own actions, by name. A skill's parameter of such a name is what its type says. */
export const FACT_TYPES: ReadonlyMap<string, FactType> = new Map([
  ["cwd", "Path"],
  ["path", "Path"],
  ["mountPath", "MountPath"],
  ["address", "ipaddr"],
]);
