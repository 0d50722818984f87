import { release } from "node:os";
import { z } from "zod";
import { ISOLATION_LEVELS, type Profile } from "../policy/profile.ts";
import type { SessionSummary } from "../session/session.ts";
import { capability, type Outcome } from "./capability.ts";
import { plain, sandbox, sessionId } from "./fields.ts";
import { present } from "./render.ts";

const isolation = z.strictObject({
  level: z.enum(ISOLATION_LEVELS),
  engine: z.string(),
  acceleration: z.string(),
  start: z.enum(["cold", "template"]).describe("Booted for this session, or a copy of a machine booted before."),
  warning: z.string().optional(),
  hostKernel: z.string(),
  guestKernel: z.string().describe("The sandbox's own."),
  guestBootId: z.string(),
  uid: z.number(),
  capabilities: z.string().describe("Effective, hexadecimal; 0 is none."),
  noNewPrivileges: z.boolean(),
  seccomp: z.boolean(),
  networkInterfaces: z.array(z.string()),
});

const summary = z.strictObject({
  sessionId: z.string(),
  name: z.string().optional(),
  state: z.enum(["opening", "ready", "lost", "closing", "closed"]),
  openedAt: z.string(),
  expiresAt: z.string().describe("Closed then, unless called before."),
  runningProcesses: z.number(),
  detail: z.string().optional(),
});
const fullSummary = summary.extend({ isolation: isolation.optional() });

const limits = z
  .record(z.string(), z.number())
  .describe("Of the profile. execMs is the default timeoutMs, maxExecMs the longest; yieldMs the default yieldMs.");

const none = z.strictObject({});
const named = z.strictObject({ sessionId });

export const openSession = capability({
  name: "openSession",
  description:
    "Open another sandbox beside the default one, with files, processes and kernel of its own. Give its sessionId to other tools. Not needed for ordinary work: the default one opens by itself.",
  annotations: { title: "Open a session", readOnly: false, destructive: false, idempotent: false, openWorld: false },
  input: z.strictObject({
    name: plain(64)
      .regex(/^[A-Za-z0-9 ._-]+$/, "must be made of letters, digits, spaces, dots, underscores and dashes")
      .optional()
      .describe("For people who read the list of sessions."),
  }),
  output: fullSummary,
  describe: (args) => ({ resource: { type: "session", id: "new" }, context: {}, audit: present(args) }),
  run: async ({ name }, { sessions, principal, signal, progress }) =>
    summaryOutcome(await sessions.open({ principal, signal, progress, ...present({ name }) })),
});

export const closeSession = capability({
  name: "closeSession",
  description: "End a session: its programs are killed and its files are gone for good.",
  annotations: { title: "Close a session", readOnly: false, destructive: true, idempotent: true, openWorld: false },
  input: z.strictObject({ sessionId: sessionId.unwrap().describe("As openSession gave it.") }),
  output: z.strictObject({ sessionId: z.string(), state: z.literal("closed") }),
  describe: (args) => ({ resource: sandbox(args), context: {}, audit: args }),
  run: async (args, { sessions, principal }) => {
    await sessions.close(principal, args.sessionId);
    const result = { sessionId: args.sessionId, state: "closed" as const };
    return { result, text: `${args.sessionId} is closed`, facts: result };
  },
});

export const listSessions = capability({
  name: "listSessions",
  description: "List your open sessions.",
  annotations: { title: "List sessions", readOnly: true, destructive: false, idempotent: true, openWorld: false },
  input: none,
  output: z.strictObject({ sessions: z.array(summary) }),
  describe: () => ({ resource: { type: "session", id: "all" }, context: {}, audit: {} }),
  run: async (_args, context) => {
    const sessions = context.sessions.list(context.principal).map(shortOf);
    const text = sessions.length > 0 ? sessions.map(lineOf).join("\n") : "no open sessions";
    return { result: { sessions }, text, facts: { sessions: sessions.length } };
  },
});

export const sessionStatus = capability({
  name: "sessionStatus",
  description: "Show a session's state, how it is isolated from this computer, and its limits.",
  annotations: { title: "Session status", readOnly: true, destructive: false, idempotent: true, openWorld: false },
  input: named,
  output: fullSummary.partial().extend({
    state: z.enum(["unopened", ...summary.shape.state.options]),
    image: z.string(),
    limits,
  }),
  describe: (args) => ({ resource: sandbox(args), context: {}, audit: present(args) }),
  run: async (args, { sessions, principal, profile }) => {
    const found = sessions.status(principal, args.sessionId);
    const known = found ? fullOf(found) : { state: "unopened" as const };
    const result = { ...known, image: profile.image, limits: limitsOf(profile) };
    const text = [
      found ? lineOf(shortOf(found)) : "The default session is not open yet; the first call that needs it opens it.",
      ...("isolation" in known && known.isolation ? isolationLines(known.isolation) : []),
      `limits: ${JSON.stringify(result.limits)}`,
    ].join("\n");
    return { result, text, facts: { state: result.state } };
  },
});

export const resetSession = capability({
  name: "resetSession",
  description: "Throw a session's sandbox away, with all files and processes in it, and open a fresh one under its id.",
  annotations: { title: "Reset a session", readOnly: false, destructive: true, idempotent: true, openWorld: false },
  input: named,
  output: fullSummary,
  describe: (args) => ({ resource: sandbox(args), context: {}, audit: present(args) }),
  run: async (args, { sessions, principal, signal, progress }) =>
    summaryOutcome(await sessions.reset({ principal, signal, progress, ...present({ sessionId: args.sessionId }) })),
});

type Short = z.output<typeof summary>;
type Isolation = z.output<typeof isolation>;

function shortOf({ isolation: _, ...rest }: SessionSummary): Short {
  return rest;
}

function fullOf(found: SessionSummary): z.output<typeof fullSummary> {
  return { ...shortOf(found), ...present({ isolation: isolationOf(found) }) };
}

function isolationOf({ isolation }: SessionSummary): Isolation | undefined {
  if (!isolation) return undefined;
  const { machine, attestation } = isolation;
  return {
    level: machine.level,
    engine: `${machine.engine} ${machine.engineVersion}`,
    acceleration: machine.acceleration,
    start: machine.start,
    ...present({ warning: machine.warning }),
    hostKernel: release(),
    guestKernel: attestation.kernelRelease,
    guestBootId: attestation.bootId,
    uid: attestation.uids[0] ?? -1,
    capabilities: attestation.capabilities.effective.replace(/^0+(?=.)/, ""),
    noNewPrivileges: attestation.noNewPrivs,
    seccomp: attestation.seccompMode === 2,
    networkInterfaces: [...attestation.interfaces],
  };
}

function limitsOf(profile: Profile): z.output<typeof limits> {
  const { resources, timeouts, output, files } = profile;
  return {
    ...resources,
    ...profile.limits,
    ...timeouts,
    outputBytes: output.maxBytes,
    readBytes: files.maxReadBytes,
    writeBytes: files.maxWriteBytes,
  };
}

function summaryOutcome(found: SessionSummary): Outcome<z.output<typeof fullSummary>> {
  const result = fullOf(found);
  const lines = result.isolation ? isolationLines(result.isolation) : [];
  const { sessionId, state } = result;
  return { result, text: [lineOf(shortOf(found)), ...lines].join("\n"), facts: { sessionId, state } };
}

function lineOf({ sessionId, name, state, expiresAt, runningProcesses, detail }: Short): string {
  const label = name === undefined ? sessionId : `${sessionId} (${name})`;
  const why = detail === undefined ? "" : ` (${detail})`;
  return `${label}: ${state}${why}, ${runningProcesses} processes running, expires ${expiresAt}`;
}

function isolationLines(it: Isolation): string[] {
  const privileges = `uid ${it.uid}, capabilities ${it.capabilities}, no-new-privileges ${it.noNewPrivileges ? "on" : "off"}, seccomp ${it.seccomp ? "on" : "off"}`;
  return [
    `isolation: ${it.level} (${it.engine}, ${it.acceleration})`,
    `kernel of this computer: ${it.hostKernel}; of the sandbox: ${it.guestKernel} (boot ${it.guestBootId})`,
    `inside: ${privileges}, network ${it.networkInterfaces.join(" ") || "none"}`,
    ...(it.warning === undefined ? [] : [`warning: ${it.warning}`]),
  ];
}
