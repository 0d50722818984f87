import { z } from "zod";
import type { SnapshotSummary } from "../session/snapshots.ts";
import { capability } from "./capability.ts";
import { plain, sandbox, sessionId, sessionName } from "./fields.ts";
import { present } from "./render.ts";
import { shortOutcome, summary } from "./session-summary.ts";

const MIB = 1024 * 1024;

const snapshot = plain(64)
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, "must be made of letters, digits, dots, underscores and dashes")
  .describe("Name of the snapshot.");

export const snapshotSummary = z.strictObject({
  name: z.string(),
  takenAt: z.string(),
  sessionId: z.string().describe("That it was taken of."),
  bytes: z.number(),
});

export const snapshotSession = capability({
  name: "snapshotSession",
  description:
    "Save the sandbox as it is now under a name: its files, memory and running programs. It goes on after a pause of some seconds. Go back with restoreSession; snapshots outlive the session.",
  annotations: { title: "Take a snapshot", readOnly: false, destructive: false, idempotent: false, openWorld: false },
  input: z.strictObject({ snapshot, sessionId }),
  output: snapshotSummary,
  describe: (args) => ({ resource: sandbox(args), context: { snapshot: args.snapshot }, audit: present(args) }),
  run: async (args, { sessions, principal, signal, progress }) => {
    const options = { principal, signal, progress, snapshot: args.snapshot, ...present({ sessionId: args.sessionId }) };
    const result = await sessions.snapshots.take(options);
    return { result, text: snapshotLine(result), facts: { ...result } };
  },
});

export const restoreSession = capability({
  name: "restoreSession",
  description:
    "Put a session back to how a snapshot has it. What it has now is lost: take a snapshot of it first if it may be wanted. Programs that ran go on, but listProcesses does not know them.",
  annotations: { title: "Restore a snapshot", readOnly: false, destructive: true, idempotent: true, openWorld: false },
  input: z.strictObject({ snapshot, sessionId }),
  output: summary,
  describe: (args) => ({ resource: sandbox(args), context: { snapshot: args.snapshot }, audit: present(args) }),
  run: async (args, { sessions, principal, signal, progress }) => {
    const options = { principal, signal, progress, snapshot: args.snapshot, ...present({ sessionId: args.sessionId }) };
    return shortOutcome(await sessions.snapshots.restore(options));
  },
});

export const forkSession = capability({
  name: "forkSession",
  description:
    "Open another session as a copy of this one as it is now, or of a snapshot, to try something without risk. Give its sessionId to other tools. Both go on independently.",
  annotations: { title: "Fork a session", readOnly: false, destructive: false, idempotent: false, openWorld: false },
  input: z.strictObject({
    snapshot: snapshot.optional().describe("Copy this snapshot and not the session."),
    sessionId,
    name: sessionName,
  }),
  output: summary,
  describe: (args) => ({
    resource: sandbox(args),
    context: present({ snapshot: args.snapshot }),
    audit: present(args),
  }),
  run: async (args, { sessions, principal, signal, progress }) =>
    shortOutcome(await sessions.snapshots.fork({ principal, signal, progress, ...present(args) })),
});

export const deleteSnapshot = capability({
  name: "deleteSnapshot",
  description: "Delete a snapshot for good.",
  annotations: { title: "Delete a snapshot", readOnly: false, destructive: true, idempotent: true, openWorld: false },
  input: z.strictObject({ snapshot }),
  output: z.strictObject({ snapshot: z.string(), deleted: z.literal(true) }),
  describe: (args) => ({
    resource: { type: "session", id: "all" },
    context: { snapshot: args.snapshot },
    audit: args,
  }),
  run: async (args, { sessions, principal }) => {
    await sessions.snapshots.delete(principal, args.snapshot);
    const result = { snapshot: args.snapshot, deleted: true as const };
    return { result, text: `${args.snapshot} is deleted`, facts: result };
  },
});

export function snapshotLine({ name, takenAt, sessionId: of, bytes }: SnapshotSummary): string {
  return `snapshot ${name}: taken ${takenAt} of ${of}, ${Math.ceil(bytes / MIB)} MiB`;
}
