/**
 * Every way in which the gateway itself can fail. `docs/errors.md` is generated from this table (a test keeps them equal).
 * `retryable`: the same call may work later without anybody changing anything. `fix`: what a person does about it.
 */
export const ERROR_CODES = {
  INVALID_ARGUMENTS: {
    retryable: false,
    title: "The call's arguments do not fit the tool's schema.",
    fix: "Correct the field that the message names and call again.",
  },
  UNKNOWN_TOOL: { retryable: false, title: "There is no tool of this name.", fix: "Use a name from the tool list." },
  DENIED: {
    retryable: false,
    title: "Policy does not permit this call. Nothing was executed.",
    fix: "Do what the message says is allowed, or ask the people who keep the policy.",
  },
  CANCELLED: {
    retryable: true,
    title: "The caller cancelled the call.",
    fix: "Call again if the result is still wanted.",
  },
  SHUTTING_DOWN: { retryable: true, title: "The gateway is shutting down.", fix: "Reconnect and call again." },
  CONFIG_INVALID: {
    retryable: false,
    title: "The configuration cannot be used.",
    fix: "Correct the places that the message names.",
  },
  CLIENT_CONFIG_INVALID: {
    retryable: false,
    title: "The MCP client's own configuration file cannot be changed safely.",
    fix: "Mend the file that the message names, or use --dry-run and paste the printed text.",
  },
  POLICY_INVALID: {
    retryable: false,
    title: "The policy bundle is not valid.",
    fix: "Run `glovebox policy check` and correct each file and line that it names.",
  },
  POLICY_UNREADABLE: {
    retryable: false,
    title: "The policy bundle cannot be read.",
    fix: "Check the path and its permissions.",
  },
  POLICY_UNSIGNED: {
    retryable: false,
    title: "The policy bundle is not signed, and it has to be.",
    fix: "Sign it with `glovebox policy sign`, and name the public key beside its source.",
  },
  POLICY_SIGNATURE: {
    retryable: false,
    title: "The policy bundle is not what a trusted key signed.",
    fix: "Ask those who publish it; have it signed again if they changed it, or correct the keys that are trusted.",
  },
  POLICY_ROLLBACK: {
    retryable: false,
    title: "The policy bundle is older than one that was in force before, or another one of the same version.",
    fix: "Publish what it shall be under a higher version.",
  },
  POLICY_FETCH_FAILED: {
    retryable: true,
    title: "The policy bundle cannot be had from its source.",
    fix: "Correct what the message names, or wait until the source can be reached.",
  },
  POLICY_KEY: {
    retryable: false,
    title: "A key for policy bundles cannot be used.",
    fix: "Make a pair with `glovebox policy keygen`, and keep the private half where only its owner can read it.",
  },
  ORGANISATION_POLICY: {
    retryable: false,
    title: "This computer is enrolled by an organisation whose policy can't be believed, so nothing runs.",
    fix: "Have an administrator repair what the message names; `glovebox policy unenrol` ends an enrolment.",
  },
  AUDIT_UNWRITABLE: {
    retryable: true,
    title: "The audit log cannot be written, so the call was refused.",
    fix: "Free disk space or mend the permissions of the audit directory; `glovebox doctor` shows both.",
  },
  SINK_FAILED: {
    retryable: true,
    title: "A receiver of the audit log did not take records. They stay in the log and are sent again.",
    fix: "Run `glovebox audit status` for the receiver and its last error; correct `logging` in glovebox.yaml, or mend the receiver.",
  },
  AUDIT_CORRUPT: {
    retryable: false,
    title: "The audit log does not verify.",
    fix: "Keep the files as they are, run `glovebox audit verify` for the place, and start with another `--data-dir` meanwhile.",
  },
  STATE_UNWRITABLE: {
    retryable: true,
    title: "The state directory cannot be written.",
    fix: "Free disk space or mend the permissions; `glovebox doctor` shows both.",
  },
  BUDGETS_UNREADABLE: {
    retryable: true,
    title: "What has been used of the budgets can't be read or written, so what they limit was refused.",
    fix: "Free disk space, mend the permissions of `budgets.sqlite` in the data directory, or, while no gateway runs, move it away: what was used is then forgotten.",
  },
  CONNECTION_FAILED: {
    retryable: true,
    title: "A connection of the sandbox could not be made, or broke off.",
    fix: "Check the port and that a program listens on it; then try again.",
  },
  REGISTRY_FAILED: {
    retryable: true,
    title: "A package registry did not answer, or not as one does.",
    fix: "Check that this computer reaches the registry; `packages.registries` in profile.yaml names another one.",
  },
  REGISTRY_MALFORMED: {
    retryable: false,
    title: "What a package registry says of a package can't be read.",
    fix: "Tell whoever runs the registry; packages of other names are not concerned.",
  },
  ADVISORIES_INVALID: {
    retryable: false,
    title: "Advisories can't be imported, or those that were can't be read.",
    fix: "Import OSV records again with `glovebox advisories import`.",
  },
  IMAGE_MISSING: { retryable: false, title: "The guest image has not been built.", fix: "Run `glovebox image build`." },
  IMAGE_CORRUPT: {
    retryable: false,
    title: "The guest image does not match its digest.",
    fix: "Run `glovebox image build --force`.",
  },
  IMAGE_BUILD_FAILED: {
    retryable: true,
    title: "The guest image could not be built.",
    fix: "Read the build log that the message names; building again is safe.",
  },
  IMAGE_INVALID: {
    retryable: false,
    title: "The agent image cannot be used.",
    fix: "Give a `docker save` archive or an OCI layout that holds exactly one Linux image.",
  },
  QEMU_MISSING: {
    retryable: false,
    title: "QEMU is not installed.",
    fix: "Install it: `apt-get install qemu-system-x86 qemu-utils` (Debian, Ubuntu) or `brew install qemu` (macOS).",
  },
  QEMU_UNSUPPORTED: { retryable: false, title: "This QEMU cannot run the sandbox.", fix: "Install QEMU 7.2 or newer." },
  BOOT_FAILED: {
    retryable: true,
    title: "The sandbox's machine did not boot.",
    fix: "Look at the end of its console in the message; `glovebox doctor` checks acceleration, image and disk.",
  },
  MACHINE_LOST: {
    retryable: false,
    title: "The sandbox's machine is gone, and its files with it.",
    fix: "Call `resetSession` to start a fresh one.",
  },
  CHANNEL_VIOLATION: {
    retryable: false,
    title: "The guest broke the channel's protocol, so its machine was ended.",
    fix: "Call `resetSession` to start a fresh one.",
  },
  ISOLATION_BELOW_FLOOR: {
    retryable: false,
    title: "The sandbox is isolated less than the profile demands, so it was not used.",
    fix: "Run `glovebox doctor`; the message names the facts that failed.",
  },
  CONTAINER_FAILED: {
    retryable: true,
    title: "The engine inside the sandbox refused an operation.",
    fix: "Read its message; `resetSession` gives a fresh sandbox.",
  },
  DISK_FULL: {
    retryable: false,
    title: "A disk is full.",
    fix: "Delete files in the sandbox, or raise `resources.diskMiB` in the profile; on the host, free space.",
  },
  SNAPSHOT_NOT_FOUND: {
    retryable: false,
    title: "There is no such snapshot.",
    fix: "Use a name from `listSessions`, or take one with `snapshotSession`.",
  },
  SNAPSHOT_EXISTS: {
    retryable: false,
    title: "There is a snapshot of this name already.",
    fix: "Choose another name, or delete the old one with `deleteSnapshot`.",
  },
  SNAPSHOT_LIMIT: {
    retryable: false,
    title: "There are as many snapshots, or as large ones, as the profile permits.",
    fix: "Delete one with `deleteSnapshot`, or raise `snapshots` in the profile.",
  },
  SNAPSHOT_UNUSABLE: {
    retryable: false,
    title: "The snapshot cannot be used any more.",
    fix: "Start from a fresh session, and delete the snapshot; one fits only the image, profile and QEMU that it was taken with.",
  },
  STILL_PREPARING: {
    retryable: true,
    title: "The sandbox is still being prepared.",
    fix: "Call again in a few seconds; the preparation goes on meanwhile.",
  },
  SKILL_NOT_USED: {
    retryable: false,
    title: "The skill of this capability is not in use.",
    fix: "Call useSkill with the name that the message has, and then again.",
  },
  SKILL_INCOMPLETE: {
    retryable: false,
    title: "The skill needs something that it can't have here.",
    fix: "Ask the people who keep the policy for what the message names, or do it without the skill.",
  },
  SKILL_FAILED: {
    retryable: false,
    title: "The skill's own programs did not do what the skill promises.",
    fix: "Read what the program printed; tell whoever keeps the skill if the arguments were right.",
  },
  SESSION_NOT_FOUND: {
    retryable: false,
    title: "There is no session of this id for this client.",
    fix: "Leave out `sessionId` for the default session, or open one with `openSession`.",
  },
  HOST_BUSY: {
    retryable: true,
    title: "The host has no room for another sandbox.",
    fix: "Close a session that is no longer needed, or call again later; sandboxes that run are not affected.",
  },
  SESSION_LIMIT: {
    retryable: true,
    title: "No more sessions may be open at once.",
    fix: "Close one with `closeSession`.",
  },
  SESSION_CLOSED: { retryable: false, title: "The session is closed.", fix: "Open another with `openSession`." },
  PORT_LIMIT: {
    retryable: false,
    title: "No more ports may be exposed at once in this session.",
    fix: "Close one with `exposePort` and `close`.",
  },
  PROCESS_NOT_FOUND: {
    retryable: false,
    title: "There is no process of this id in the session.",
    fix: "See `listProcesses`.",
  },
  PROCESS_LIMIT: {
    retryable: true,
    title: "No more processes may run at once in this session.",
    fix: "Stop one with `stopProcess`.",
  },
  PROCESS_ENDED: {
    retryable: false,
    title: "The process has ended.",
    fix: "Read what is left of its output with `readProcess`.",
  },
  STDIN_CLOSED: {
    retryable: false,
    title: "The process takes no input.",
    fix: "Start it with `background`; once closed, its input stays closed.",
  },
  STDIN_BLOCKED: {
    retryable: true,
    title: "The process has not read the input that it was given before.",
    fix: "Call again later, or stop it with `stopProcess`.",
  },
  PROGRAM_NOT_FOUND: {
    retryable: false,
    title: "The program, or the working directory, does not exist in the sandbox.",
    fix: "Check the spelling; `exec` searches PATH and runs no shell.",
  },
  FILE_NOT_FOUND: {
    retryable: false,
    title: "There is nothing at this path in the sandbox.",
    fix: "Look with `listDirectory`.",
  },
  NOT_A_FILE: {
    retryable: false,
    title: "The path is not a regular file.",
    fix: "Use `listDirectory` for a directory; devices, sockets and pipes are refused.",
  },
  NOT_A_DIRECTORY: { retryable: false, title: "The path is not a directory.", fix: "Use `readFile` for a file." },
  PATH_IS_LINK: {
    retryable: false,
    title: "A part of the path is a symbolic link.",
    fix: "Call again with the real path that the message names; it is decided by policy on its own.",
  },
  PATH_NOT_WRITABLE: {
    retryable: false,
    title: "The path lies on the sandbox's read-only file system.",
    fix: "Write below /workspace, /tmp or /home/agent.",
  },
  FILE_TOO_LARGE: {
    retryable: false,
    title: "The file is larger than the profile permits.",
    fix: "Read a part of it with `offset` and `limit`, or process it inside the sandbox with `exec`.",
  },
  TRANSFER_TOO_LARGE: {
    retryable: false,
    title: "There are more files, or larger ones, than one import or export may carry.",
    fix: "Copy a directory further down, or raise `files.maxTransferFiles` or `files.maxTransferBytes` in the profile.",
  },
  MOUNT_NOT_FOUND: {
    retryable: false,
    title: "The profile has no mount of this name.",
    fix: "Use a name that the message lists, or add the folder to `mounts` in the bundle's profile.yaml; docs/mounts.md shows how.",
  },
  MOUNT_READ_ONLY: {
    retryable: false,
    title: "The mount is for import only.",
    fix: "Export to a mount whose `mode` in the bundle's profile.yaml is `rw`.",
  },
  MOUNT_UNUSABLE: {
    retryable: false,
    title: "The mount's folder cannot be used.",
    fix: "Correct the folder, its permissions, or `host` of the mount in the bundle's profile.yaml.",
  },
  PATH_EXCLUDED: {
    retryable: false,
    title: "The mount does not let this path through.",
    fix: "Copy another path; people change `include`, `exclude` and `allowSensitive` of the mount in the bundle's profile.yaml.",
  },
  FILE_CHANGED: {
    retryable: false,
    title: "The file is not the one the caller has seen.",
    fix: "Read it again, then repeat the change.",
  },
  NOT_TEXT: {
    retryable: false,
    title: "The file is not UTF-8 text.",
    fix: "Read it with `encoding: base64`, or change it inside the sandbox with `exec`.",
  },
  EDIT_NO_MATCH: {
    retryable: false,
    title: "The text to replace does not occur in the file exactly once.",
    fix: "Give more of the surrounding text, or set `replaceAll`.",
  },
  PATTERN_INVALID: {
    retryable: false,
    title: "The search pattern is not a valid regular expression.",
    fix: "Correct it, or set `literal`.",
  },
  SECRET_UNAVAILABLE: {
    retryable: true,
    title: "The value of a secret cannot be had, so what needs it was refused.",
    fix: "Mend the source that the profile names for the secret; the message says what is wrong with it.",
  },
  APPROVAL_CHANNEL_FAILED: {
    retryable: true,
    title: "A person could not be asked by one of the ways that are set up for it.",
    fix: "Mend what the message names; docs/approvals.md describes each way.",
  },
  APPROVAL_NOT_FOUND: {
    retryable: false,
    title: "No such question waits for an answer any more.",
    fix: "See `glovebox approve` for those that do; a question is gone once it is answered, expired or given up.",
  },
  NOT_AN_APPROVER: {
    retryable: false,
    title: "Somebody else has to answer this.",
    fix: "Have one of those whom the message names answer it; `approvers` in the gateway's settings lists them.",
  },
  TERMINAL_NEEDED: {
    retryable: false,
    title: "This needs a person at a terminal.",
    fix: "Run it in a terminal, with neither input nor output redirected; no program may answer for a person.",
  },
  INTERNAL: {
    retryable: false,
    title: "The gateway failed in a way it should not have.",
    fix: "Report it with the call id; the details are in the gateway's log.",
  },
} as const satisfies Record<string, { retryable: boolean; title: string; fix: string }>;

export type ErrorCode = keyof typeof ERROR_CODES;

/**
 * A failure of the gateway, never of a program in the sandbox. `message` may be shown to the client and to a terminal:
 * it holds no host path that a model has no business with and no guest text that was not made printable. `cause` is for the log.
 */
export class GatewayError extends Error {
  override readonly name = "GatewayError";
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string = ERROR_CODES[code].title, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }

  get retryable(): boolean {
    return ERROR_CODES[this.code].retryable;
  }

  get fix(): string {
    return ERROR_CODES[this.code].fix;
  }
}

/** The error as a `GatewayError`: itself, or wrapped as `INTERNAL` with a message that tells the client nothing. */
export function asGatewayError(error: unknown): GatewayError {
  return error instanceof GatewayError ? error : new GatewayError("INTERNAL", undefined, { cause: error });
}
