import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { redact } from "../../src/audit/redact.ts";
import type { Description } from "../../src/capability/capability.ts";
import { CAPABILITIES, findCapability } from "../../src/capability/registry.ts";
import type { Container } from "../../src/container/container.ts";
import { GatewayError } from "../../src/errors.ts";
import { evaluate } from "../../src/policy/evaluate.ts";
import { readRecorded, recordedRequest } from "../../src/policy/replay.ts";
import { bundleOf } from "../support/bundle.ts";
import { PRINCIPAL, workbench } from "../support/capability-context.ts";
import { localContainer } from "../support/local-container.ts";

const word = fc.string({ unit: "binary", maxLength: 40 });
const name = fc.oneof(word, fc.constantFrom("..", ".", "", "a b", "-rf", "ä", "\n", "etc", "workspace"));
const path = fc
  .tuple(fc.constantFrom("", "/", "//", "/workspace/", "../"), fc.array(name, { maxLength: 6 }))
  .map(([root, names]) => root + names.join("/"));
const sessionId = fc.option(fc.constantFrom("ses-0abc", "ses-x1"), { nil: undefined });
const option = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
const running = {
  cwd: option(path),
  env: option(fc.dictionary(fc.constantFrom("A", "B_2", "path"), word)),
  stdin: option(word),
  timeoutMs: option(fc.integer({ min: 100, max: 3_600_000 })),
  background: option(fc.boolean()),
  terminal: option(fc.boolean()),
  sessionId,
};
const processId = fc.constantFrom("proc-1", "proc-abc");

/** Arguments of each tool, most of which fit its schema. */
const ARGUMENTS: Record<string, fc.Arbitrary<object>> = {
  exec: fc.record({ argv: fc.array(word, { minLength: 1, maxLength: 12 }), ...running }),
  shell: fc.record({ script: word, ...running }),
  readProcess: fc.record({ processId, cursor: option(fc.constant("1:2")), sessionId }),
  writeProcess: fc.record({ processId, stdin: word, close: option(fc.boolean()), sessionId }),
  stopProcess: fc.record({ processId, signal: option(fc.constantFrom("SIGINT", "SIGKILL")), sessionId }),
  listProcesses: fc.record({ sessionId }),
  readFile: fc.record({ path, encoding: option(fc.constantFrom("utf8", "base64")), sessionId }),
  writeFile: fc.record({
    path,
    content: fc.oneof(
      word,
      fc.uint8Array().map((it) => Buffer.from(it).toString("base64")),
    ),
    encoding: option(fc.constantFrom("utf8", "base64")),
    mode: option(fc.constantFrom("644", "0755")),
    createParents: option(fc.boolean()),
    ifHash: option(fc.constantFrom("absent", "0".repeat(64))),
    sessionId,
  }),
  editFile: fc.record({
    path,
    edits: fc.array(fc.record({ oldText: word, newText: word }), { minLength: 1, maxLength: 4 }),
    dryRun: option(fc.boolean()),
    sessionId,
  }),
  listDirectory: fc.record({ path: option(path), depth: option(fc.integer({ min: 1, max: 16 })), sessionId }),
  searchFiles: fc.record({ path: option(path), pattern: word, glob: option(word), sessionId }),
  installPackage: fc.record({
    ecosystem: fc.constantFrom("pip", "npm", "apt", "cargo", "go", "maven"),
    packages: fc.array(
      fc.record({
        // The first are names, and the first version a version, of most ecosystems.
        name: fc.oneof(
          { weight: 4, arbitrary: fc.constantFrom("left-pad", "six", "sqlite3", "serde") },
          { weight: 1, arbitrary: fc.oneof(word, fc.constantFrom("@types/node", "a.b/c", "a:b", "Six")) },
        ),
        version: option(
          fc.oneof(
            { weight: 4, arbitrary: fc.constant("1.0.0") },
            { weight: 1, arbitrary: fc.oneof(word, fc.constantFrom("v1.0.0", "latest", "^1")) },
          ),
        ),
      }),
      { minLength: 1, maxLength: 3 },
    ),
    directory: option(path),
    global: option(fc.boolean()),
    sessionId,
  }),
  importFiles: fc.record({
    mount: fc.constantFrom("app", "Not A Name"),
    path: option(path),
    to: option(path),
    include: option(fc.array(word, { maxLength: 3 })),
    gitignore: option(fc.boolean()),
    sessionId,
  }),
  exportFiles: fc.record({
    path,
    mount: fc.constantFrom("app", "docs"),
    to: path,
    overwrite: option(fc.boolean()),
    dryRun: option(fc.boolean()),
    sessionId,
  }),
  openSession: fc.record({ name: option(fc.constant("build")) }),
  closeSession: fc.record({ sessionId: fc.constantFrom("ses-1", "ses-2") }),
  listSessions: fc.constant({}),
  sessionStatus: fc.record({ sessionId }),
  resetSession: fc.record({ sessionId }),
  snapshotSession: fc.record({ snapshot: fc.constant("before"), sessionId }),
  restoreSession: fc.record({ snapshot: fc.constant("before"), sessionId }),
  forkSession: fc.record({ snapshot: option(fc.constant("before")), name: option(fc.constant("copy")), sessionId }),
  deleteSnapshot: fc.record({ snapshot: fc.constant("before") }),
  exposePort: fc.record({ port: fc.integer({ min: 1, max: 65_535 }), close: option(fc.boolean()), sessionId }),
  explainPolicy: fc.record({ tool: word, arguments: option(fc.dictionary(word, fc.jsonValue())) }),
};

const everything = bundleOf("permit (principal, action, resource);", { narrows: true });

/** The arguments as the spine sees them, and their description; nothing when either says that they don't fit. */
function understood(tool: string, given: object): { args: object; description: Description } | undefined {
  const capability = findCapability(tool);
  if (!capability) throw new Error(`no tool ${tool}`);
  const result = capability.input.safeParse(JSON.parse(JSON.stringify(given)));
  if (!result.success) return undefined;
  try {
    return { args: result.data, description: capability.describe(result.data, PRINCIPAL) };
  } catch (error) {
    if (error instanceof GatewayError && error.code === "INVALID_ARGUMENTS") return undefined;
    throw error;
  }
}

test("the tables have every tool", () => {
  expect(Object.keys(ARGUMENTS)).toEqual(CAPABILITIES.map((it) => it.name));
});

describe.each(CAPABILITIES.map((it) => it.name))("%s", (tool) => {
  test("is described, or refused as INVALID_ARGUMENTS; policy's schema knows every fact of it", () => {
    let described = 0;
    fc.assert(
      fc.property(ARGUMENTS[tool] ?? fc.constant({}), (given) => {
        const known = understood(tool, given);
        if (!known) return;
        described += 1;
        const { resource, context, audit } = known.description;
        const decision = evaluate(everything, { principal: PRINCIPAL, action: tool, resource, context });
        expect(decision.problems).toEqual([]);
        expect(decision.outcome).toBe("permit");
        // What the log keeps of it is all that policy saw.
        const request = { principal: PRINCIPAL, action: tool, resource, context };
        const recorded = recordedRequest(request, { usage: true });
        expect(readRecorded(PRINCIPAL, recorded)).toEqual(request);
        const kept = readRecorded(PRINCIPAL, redact(recorded));
        if (!JSON.stringify(kept).includes("[redacted:")) expect(kept).toEqual(request);
        if (resource.type === "path") expect(resource.path).toMatch(/^(\/|(\/[^/]+)+)$/s);
        // The log takes JSON and nothing else, and no text that has no UTF-8 form.
        expect(JSON.parse(JSON.stringify(audit))).toEqual(audit);
        expect(JSON.stringify(audit)).not.toMatch(/\\ud[89a-f]/i);
        // A description is a function of the arguments alone.
        expect(understood(tool, given)?.description).toEqual(known.description);
      }),
      { numRuns: 150 },
    );
    expect(described).toBeGreaterThan(0);
  });
});

/** A container that only writes down what is asked of it. */
function recorder() {
  const paths: string[] = [];
  const runs: { argv: readonly string[]; cwd: string }[] = [];
  const stop = (): never => {
    throw new GatewayError("DISK_FULL", "enough was seen");
  };
  const container: Container = {
    ...localContainer(),
    run: async ({ argv, cwd }) => {
      runs.push({ argv, cwd });
      return stop();
    },
    stat: async (path) => {
      paths.push(path);
      const kind = path.endsWith("e") ? "file" : "directory";
      return { path, kind, sizeBytes: 0, mode: 0o644, modifiedMs: 0 };
    },
    readFile: async (path) => {
      paths.push(path);
      return Buffer.from("a");
    },
    writeFile: async (path) => {
      paths.push(path);
      return stop();
    },
  };
  return { container, paths, runs };
}

test.each(["readFile", "writeFile", "editFile", "listDirectory", "searchFiles"])(
  "%s acts on the path that was described, and on no other",
  async (tool) => {
    await fc.assert(
      fc.asyncProperty(ARGUMENTS[tool] ?? fc.constant({}), async (given) => {
        const known = understood(tool, given);
        if (known?.description.resource.type !== "path") return;
        const described = known.description.resource.path;
        const { container, paths, runs } = recorder();
        await using bench = workbench({ container });
        await bench.call(tool, JSON.parse(JSON.stringify(given))).catch((error: unknown) => {
          if (!(error instanceof GatewayError)) throw error;
        });
        expect(new Set(paths)).toEqual(new Set([described]));
        for (const { argv } of runs) expect(argv.filter((it) => it.startsWith("/"))).toEqual([described]);
      }),
      { numRuns: 100 },
    );
  },
);

test.each(["exec", "shell"])("%s runs what was described, where it was described", async (tool) => {
  await fc.assert(
    fc.asyncProperty(ARGUMENTS[tool] ?? fc.constant({}), async (given) => {
      const known = understood(tool, given);
      if (!known) return;
      const { container, runs } = recorder();
      await using bench = workbench({ container });
      await expect(bench.call(tool, JSON.parse(JSON.stringify(given)))).rejects.toMatchObject({ code: "DISK_FULL" });
      const { context, audit } = known.description;
      const { argv, script } = audit as { argv?: string[]; script?: string };
      expect(runs).toEqual([{ argv: argv ?? ["/bin/bash", "--norc", "-c", "--", script], cwd: context["cwd"] }]);
    }),
    { numRuns: 100 },
  );
});

test("facts and records hold no body and no value of a variable", () => {
  const secret = "hunter2-hunter2";
  const calls: [string, object][] = [
    ["exec", { argv: ["true"], env: { TOKEN: secret }, stdin: secret }],
    ["shell", { script: "true", env: { TOKEN: secret }, stdin: secret }],
    ["writeProcess", { processId: "proc-1", stdin: secret }],
    ["writeFile", { path: "a", content: secret }],
    ["editFile", { path: "a", edits: [{ oldText: secret, newText: secret }] }],
    ["explainPolicy", { tool: "writeFile", arguments: { path: "a", content: secret } }],
  ];
  for (const [tool, args] of calls) {
    expect(JSON.stringify(understood(tool, args)?.description), tool).not.toContain(secret);
  }
});
