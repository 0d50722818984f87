import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { openAuditLog } from "../src/audit/log.ts";
import { call } from "../src/call/call.ts";
import type { CallPorts } from "../src/call/ports.ts";
import { capability } from "../src/capability/capability.ts";
import { GatewayError } from "../src/errors.ts";
import { openKeptBodies } from "../src/kept-bodies.ts";
import { createLog } from "../src/log.ts";
import { createMounts } from "../src/mounts/mounts.ts";
import { holdPolicy } from "../src/policy/in-force.ts";
import { profileSchema } from "../src/policy/profile.ts";
import { OWN_VOCABULARY } from "../src/policy/vocabulary.ts";
import type { SessionTable } from "../src/session/session.ts";
import { type Row, row, timed } from "./row.ts";

const KIB = 1024;
/** Of text in the arguments, and as much in the result; bytes. */
const SIZES = [
  { bytes: 1 * KIB, calls: 100 },
  { bytes: 64 * KIB, calls: 60 },
  { bytes: 1024 * KIB, calls: 10 },
] as const;
const BUNDLE = { name: "bench", version: "1.0.0", digest: "sha256:0" };
const PRINCIPAL = { id: "local:bench", client: { name: "bench", version: "1" }, transport: "stdio" as const };

/** How long a call that does nothing takes where its bodies are kept, beside the same call where they are not: in turns, on one disk. */
export async function benchAuditBodies(): Promise<Row[]> {
  const directory = mkdtempSync(join(tmpdir(), "glovebox-bench-bodies-"));
  try {
    await using off = await spine(join(directory, "off"), "off");
    await using on = await spine(join(directory, "on"), "encrypted");
    const rows: Row[] = [];
    for (const { bytes, calls } of SIZES) {
      const line = "const total = items.reduce((sum, item) => sum + item.price, 0);\n";
      const content = line.repeat(Math.ceil(bytes / line.length)).slice(0, bytes);
      const times = { off: [] as number[], on: [] as number[] };
      for (let at = 0; at < calls; at++) {
        times.off.push(await timed(() => off.ask(content)));
        times.on.push(await timed(() => on.ask(content)));
      }
      const name = `call with bodies kept, ${bytes / KIB} KiB in and out`;
      rows.push(row(name, times.on, "ms", "bodies off", times.off));
    }
    return rows;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function spine(dataDirectory: string, bodies: "off" | "encrypted") {
  await using stack = new AsyncDisposableStack();
  const audit = stack.use(await openAuditLog({ directory: join(dataDirectory, "audit"), gateway: "gw-bench" }));
  const policy = holdPolicy({
    ...{ identity: BUNDLE, layers: [], shadows: [], sets: { enforced: "" }, vocabulary: OWN_VOCABULARY },
    profile: profileSchema.parse({ audit: { bodies } }),
  });
  const log = createLog("silent");
  const echo = capability({
    name: "echo",
    description: "",
    annotations: { title: "", readOnly: true, destructive: false, idempotent: true, openWorld: false },
    input: z.strictObject({ content: z.string() }),
    output: z.strictObject({ bytes: z.number() }),
    describe: ({ content }) => ({
      resource: { type: "session", id: "ses-1" },
      context: {},
      audit: { bytes: content.length },
    }),
    run: async ({ content }) => ({
      result: { bytes: content.length },
      text: content,
      facts: { bytes: content.length },
    }),
  });
  const ports: CallPorts = {
    find: () => echo,
    accounts: {
      asked: (request) => request,
      reserve: (request) => ({ decision: { outcome: "permit", policies: [], problems: [], bundle: BUNDLE }, request }),
      relief: () => undefined,
      run: () => new DisposableStack(),
    },
    approvals: { approve: never, grants: () => [], forget: () => undefined },
    policy,
    audit,
    bodies: stack.use(
      openKeptBodies({ dataDirectory, auditDirectory: dataDirectory, policy, audit, log, hide: (text) => text }),
    ),
    sessions: {
      idOf: () => "ses-1",
      list: () => [],
      lease: () => ({ machineId: undefined, [Symbol.asyncDispose]: async () => undefined }),
    } as unknown as SessionTable,
    mounts: createMounts([], []),
    log,
  };
  const { signal } = new AbortController();
  const owned = stack.move();
  return {
    ask: async (content: string) => {
      const asked = { tool: "echo", args: { content }, principal: PRINCIPAL, signal, progress: () => undefined };
      const result = await call(asked, ports);
      if (result.kind !== "done") throw new GatewayError("INTERNAL", "a call that is measured did not end well");
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function never(): Promise<never> {
  throw new GatewayError("INTERNAL", "nobody is asked");
}
