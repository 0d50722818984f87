import { isUtf8 } from "node:buffer";
import { setImmediate as breath } from "node:timers/promises";
import { z } from "zod";
import type { FileState } from "../mounts/compare.ts";
import { type Digests, exportInto } from "../mounts/export.ts";
import { mountFailure } from "../mounts/failure.ts";
import { Report } from "../mounts/report.ts";
import { rulesOf } from "../mounts/rules.ts";
import { PRUNED } from "../mounts/sensitive.ts";
import { capability } from "./capability.ts";
import { path, sessionId, targetPath } from "./fields.ts";
import { inMount, mountName, mountPath, skippedLines, transferOutput } from "./mount-fields.ts";
import { oneLine, present, readable } from "./render.ts";
import { diffOf, MAX_DIFF_CHARS } from "./text-diff.ts";

const MIB = 1024 * 1024;
/** New and changed files that are named. */
const MAX_LISTED = 200;
const MAX_DIFFS = 50;
/** Of the paths that a record names: a record that is too long would keep a digest of all its facts instead. */
const MAX_RECORDED_CHARS = 65_536;

const input = z.strictObject({
  path: path.describe("In the sandbox: a file or directory."),
  mount: mountName,
  to: mountPath.describe("Within the mount: what path becomes there; . for all of the mount."),
  overwrite: z
    .boolean()
    .default(false)
    .describe("Replace files that differ; otherwise nothing is written if any does."),
  dryRun: z.boolean().default(false).describe("Only compare."),
  sessionId,
});

export const exportFiles = capability({
  name: "exportFiles",
  description:
    "Copy a file or directory from the sandbox to a mount: to the user's own files. Answers which are new or changed, with a diff; removes nothing.",
  annotations: { title: "Export files", readOnly: false, destructive: true, idempotent: true, openWorld: false },
  input,
  output: z.strictObject({
    ...transferOutput,
    path: z.string(),
    to: z.string(),
    written: z.boolean().describe("False for a dry run, or when overwrite was needed."),
    new: z.number(),
    changed: z.number(),
    same: z.number(),
    states: z.array(z.strictObject({ path: z.string(), state: z.enum(["new", "changed"]) })),
    diff: z.string().describe("Unified, of changed texts."),
    diffTruncated: z.boolean(),
  }),
  offered: ({ mounts }) => mounts.some((it) => it.mode === "rw"),
  describe: (args) => {
    const target = targetPath(args.path);
    const to = inMount(args.to, "to");
    const { mount, overwrite, dryRun, sessionId } = args;
    return {
      resource: { type: "path", path: target },
      context: { mount, mountPath: to.path, overwrite, dryRun },
      audit: { path: target, mount, mountPath: to.path, overwrite, dryRun, ...present({ sessionId }) },
    };
  },
  run: async (args, context) => {
    const target = targetPath(args.path);
    const to = inMount(args.to, "to");
    const { signal, profile, progress } = context;
    await using open = await context.mounts.open(args.mount, "rw");
    const { container } = await context.session();
    const report = new Report();
    const counts: Record<FileState, number> = { new: 0, changed: 0, same: 0 };
    const states: { path: string; state: "new" | "changed" }[] = [];
    const changes: {
      path: string;
      state: "new" | "changed";
      bytes: number;
      sha256: string;
      before?: NonNullable<Digests["before"]>;
    }[] = [];
    let recordedChars = 0;
    const diffs = diffCollector();
    const { maxTransferFiles: maxEntries, maxTransferBytes: maxBytes } = profile.files;
    const prune = open.mount.allowSensitive.length === 0 ? PRUNED : [];
    const written = await exportInto(open, container.exportTree(target, { maxEntries, maxBytes, prune }, signal), {
      names: to.names,
      rules: rulesOf(open.mount),
      overwrite: args.overwrite,
      dryRun: args.dryRun,
      report,
      signal,
      onFile: (path, state, { after, before }) => {
        counts[state] += 1;
        if (state !== "same" && states.length < MAX_LISTED) {
          states.push({ path, state });
          recordedChars += path.length;
          if (recordedChars <= MAX_RECORDED_CHARS) changes.push({ path, state, ...after, ...(before && { before }) });
        }
        progress(`received ${report.files} files, ${Math.floor(report.bytes / MIB)} MiB`);
      },
      onChanged: diffs.add,
    }).catch((error: unknown) => {
      throw mountFailure(error, args.mount);
    });
    const { files, bytes, skipped, listed } = report;
    const sum = { files, bytes, sha256: report.digest(), written, ...counts, skipped };
    const facts = { mount: args.mount, path: target, to: to.path, ...sum };
    const diff = { diff: diffs.text(), diffTruncated: diffs.truncated() };
    const result = { ...facts, states, ...diff, skippedPaths: [...listed] };
    const recorded = { ...facts, changes };
    const done = written
      ? "written"
      : args.dryRun
        ? "dry run, nothing written"
        : "nothing written: files would change; look at the diff, then call again with overwrite";
    const head = `${oneLine(target, 4_096)} → ${args.mount}:${oneLine(to.path, 4_096)}: ${counts.new} new, ${counts.changed} changed, ${counts.same} same; ${done}`;
    const named = states.map((it) => `  ${it.state}: ${oneLine(it.path, 500)}`);
    const text = [head, ...named, ...skippedLines(result), readable(diff.diff)].filter((it) => it !== "").join("\n");
    return { result, text, facts: recorded };
  },
});

/** Diffs of texts, as many as fit. */
function diffCollector() {
  const parts: string[] = [];
  let left = MAX_DIFF_CHARS;
  let tried = 0;
  let truncated = false;
  return {
    add: async (path: string, before: Buffer, after: Buffer): Promise<void> => {
      if (!isText(before) || !isText(after)) return;
      tried += 1;
      truncated ||= left === 0 || tried > MAX_DIFFS;
      if (truncated) return;
      // A large one takes a while: let others have their turn.
      await breath();
      const { diff, diffTruncated } = diffOf(path, before.toString("utf8"), after.toString("utf8"), left);
      parts.push(diff);
      left -= Math.min(left, diff.length);
      truncated = diffTruncated;
    },
    text: () => parts.join("\n"),
    truncated: () => truncated,
  };
}

function isText(content: Buffer): boolean {
  return isUtf8(content) && !content.includes(0);
}
