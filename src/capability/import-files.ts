import { posix } from "node:path";
import { z } from "zod";
import type { TreeEntry } from "../container/container.ts";
import { GatewayError } from "../errors.ts";
import { mountFailure } from "../mounts/failure.ts";
import { Report } from "../mounts/report.ts";
import { rulesOf } from "../mounts/rules.ts";
import { openSource } from "../mounts/source.ts";
import { type CallContext, capability } from "./capability.ts";
import { path, plain, sessionId, targetPath, WORKSPACE } from "./fields.ts";
import { inMount, mountName, mountPath, skippedLines, transferOutput } from "./mount-fields.ts";
import { oneLine, present } from "./render.ts";

const MIB = 1024 * 1024;

const input = z.strictObject({
  mount: mountName,
  path: mountPath.default("."),
  to: path.optional().describe("In the sandbox; default /workspace/<mount>/<path>."),
  include: z
    .array(
      plain(256)
        .min(1)
        .regex(/^[^!#]/, "must not begin with ! or #"),
    )
    .max(64)
    .default([])
    .describe("Only what these .gitignore-like patterns match."),
  gitignore: z.boolean().default(false).describe("Leave out what .gitignore files name."),
  sessionId,
});
type Input = z.output<typeof input>;

export const importFiles = capability({
  name: "importFiles",
  description:
    "Copy a file or directory of the user's into the sandbox, from a mount of the policy's. Replaces files of the same name there.",
  annotations: { title: "Import files", readOnly: false, destructive: true, idempotent: true, openWorld: false },
  input,
  output: z.strictObject({ ...transferOutput, path: z.string(), to: z.string(), links: z.number() }),
  offered: ({ mounts }) => mounts.length > 0,
  describe: (args) => {
    const from = inMount(args.path, "path");
    const to = placeOf(args);
    const { mount, gitignore, include, sessionId } = args;
    return {
      resource: { type: "path", path: to },
      context: { mount, mountPath: from.path, gitignore },
      audit: { path: to, mount, mountPath: from.path, gitignore, ...present({ include, sessionId }) },
    };
  },
  run: async (args, context) => {
    const from = inMount(args.path, "path");
    const to = placeOf(args);
    const { signal, profile } = context;
    await using open = await context.mounts.open(args.mount, "ro");
    const report = new Report();
    const limits = { maxFiles: profile.files.maxTransferFiles, maxBytes: profile.files.maxTransferBytes };
    const rules = rulesOf(open.mount, args.include);
    const options = { rules, gitignore: args.gitignore, limits, report, signal };
    await using source = await openSource(open, from.names, options).catch((error: unknown) => {
      throw mountFailure(error, args.mount);
    });
    if (source.single && to === "/") throw new GatewayError("INVALID_ARGUMENTS", "to: must name the file");
    const { container, turns } = await context.session();
    const entries = told(source.entries(), source.single ? posix.basename(to) : undefined, args.mount, report, context);
    const directory = source.single ? posix.dirname(to) : to;
    await turns.take(to, signal, () => container.importTree(directory, entries, signal));
    const { files, bytes, links, skipped, listed } = report;
    const facts = { mount: args.mount, path: from.path, to, files, bytes, links, sha256: report.digest(), skipped };
    const result = { ...facts, skippedPaths: [...listed] };
    const head = `${args.mount}:${oneLine(from.path, 4_096)} copied to ${oneLine(to, 4_096)}: ${files} files, ${bytes} bytes, ${links} links`;
    return { result, text: [head, ...skippedLines(result)].join("\n"), facts };
  },
});

/** Where it goes: what is described is what is written. */
function placeOf({ mount, path, to }: Input): string {
  return targetPath(to ?? `${WORKSPACE}/${mount}${inMount(path, "path").path}`);
}

/** The entries, with progress for whoever waits. A single file gets the name that it is to have. */
async function* told(
  entries: AsyncIterable<TreeEntry>,
  name: string | undefined,
  mount: string,
  report: Report,
  { progress }: CallContext,
): AsyncGenerator<TreeEntry> {
  try {
    for await (const entry of entries) {
      yield name === undefined ? entry : { ...entry, name };
      progress(`imported ${report.files} files, ${Math.floor(report.bytes / MIB)} MiB`);
    }
  } catch (error) {
    throw mountFailure(error, mount);
  }
}
