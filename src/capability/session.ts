import { z } from "zod";
import type { Profile } from "../policy/profile.ts";
import { capability } from "./capability.ts";
import { sandbox, sessionId, sessionName } from "./fields.ts";
import { present } from "./render.ts";
import {
  detailLines,
  fullOf,
  fullSummary,
  lineOf,
  shortOf,
  shortOutcome,
  summary,
  summaryOutcome,
} from "./session-summary.ts";
import { snapshotLine, snapshotSummary } from "./snapshot.ts";

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
    name: sessionName,
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
  description: "List your open sessions, and your snapshots.",
  annotations: { title: "List sessions", readOnly: true, destructive: false, idempotent: true, openWorld: false },
  input: none,
  output: z.strictObject({ sessions: z.array(summary), snapshots: z.array(snapshotSummary) }),
  describe: () => ({ resource: { type: "session", id: "all" }, context: {}, audit: {} }),
  run: async (_args, context) => {
    const sessions = context.sessions.list(context.principal).map(shortOf);
    const snapshots = [...(await context.sessions.snapshots.list(context.principal))];
    const lines = [
      ...(sessions.length > 0 ? sessions.map(lineOf) : ["no open sessions"]),
      ...snapshots.map(snapshotLine),
    ];
    const facts = { sessions: sessions.length, snapshots: snapshots.length };
    return { result: { sessions, snapshots }, text: lines.join("\n"), facts };
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
      ...(found ? detailLines(fullOf(found)) : []),
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
  output: summary,
  describe: (args) => ({ resource: sandbox(args), context: {}, audit: present(args) }),
  run: async (args, { sessions, principal, signal, progress }) =>
    shortOutcome(await sessions.reset({ principal, signal, progress, ...present({ sessionId: args.sessionId }) })),
});

function limitsOf(profile: Profile): z.output<typeof limits> {
  const { resources, timeouts, output, files, snapshots } = profile;
  return {
    ...resources,
    ...profile.limits,
    ...timeouts,
    outputBytes: output.maxBytes,
    readBytes: files.maxReadBytes,
    writeBytes: files.maxWriteBytes,
    snapshots: snapshots.count,
    snapshotMiB: snapshots.totalMiB,
  };
}
