import { spawn } from "node:child_process";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  auditRecords,
  connect,
  ENTRY,
  machinePids,
  processGone,
  type TestClient,
  type TestData,
  testData,
} from "../support/gateway.ts";

/** Arguments that do not fit, for every tool: the field is named, nothing is executed, a record is left [G3] [G4]. */
let data: TestData;
let agent: TestClient;

beforeAll(async () => {
  data = testData();
  agent = await connect(data);
});

afterAll(async () => {
  await agent?.[Symbol.asyncDispose]();
  data?.[Symbol.dispose]();
});

const TOOLS = [
  "exec",
  "shell",
  "readProcess",
  "writeProcess",
  "stopProcess",
  "listProcesses",
  "readFile",
  "writeFile",
  "editFile",
  "listDirectory",
  "searchFiles",
  "openSession",
  "closeSession",
  "listSessions",
  "sessionStatus",
  "resetSession",
  "snapshotSession",
  "restoreSession",
  "forkSession",
  "deleteSnapshot",
  "explainPolicy",
] as const;

const MAIN: Record<(typeof TOOLS)[number], string | undefined> = {
  exec: "argv",
  shell: "script",
  readProcess: "processId",
  writeProcess: "processId",
  stopProcess: "processId",
  listProcesses: undefined,
  readFile: "path",
  writeFile: "path",
  editFile: "path",
  listDirectory: undefined,
  searchFiles: "pattern",
  openSession: undefined,
  closeSession: "sessionId",
  listSessions: undefined,
  sessionStatus: undefined,
  resetSession: undefined,
  snapshotSession: "snapshot",
  restoreSession: "snapshot",
  forkSession: undefined,
  deleteSnapshot: "snapshot",
  explainPolicy: "tool",
};

describe.each(TOOLS)("%s", (tool) => {
  test("refuses an unknown key by name", async () => {
    const answer = await agent.call(tool, { __hostile: 1 });
    expect(answer.isError).toBe(true);
    expect(answer.text).toMatch(/^INVALID_ARGUMENTS: [\s\S]*__hostile/);
  });

  test("refuses a missing or wrongly typed main argument by name", async () => {
    const field = MAIN[tool];
    if (field === undefined) return;
    for (const args of [{}, { [field]: 7 }, { [field]: null }, { [field]: { $gt: "" } }]) {
      const answer = await agent.call(tool, args);
      expect(answer.text).toMatch(/^INVALID_ARGUMENTS: /);
      expect(answer.text).toContain(field);
    }
  });

  test("refuses an enormous string, and the record keeps its size and digest only", async () => {
    const field = MAIN[tool] ?? "sessionId";
    if (tool === "listSessions") return;
    const answer = await agent.call(tool, { [field]: "A".repeat(2_000_000) });
    expect(answer.isError).toBe(true);
    const last = auditRecords(data)
      .map((it) => it.body)
      .findLast((it) => it.kind === "intent");
    expect(last).toMatchObject({ tool });
    expect(JSON.stringify(last).length).toBeLessThan(10_000);
  });
});

test("nothing of it opened a sandbox, and each left one record", () => {
  expect(machinePids(data)).toEqual([]);
  const intents = auditRecords(data)
    .map((it) => it.body)
    .filter((it) => it.kind === "intent");
  expect(
    intents.every(
      (it) =>
        it.decision !== "permit" || it.tool === "shell" || it.tool.endsWith("Session") || it.tool.startsWith("search"),
    ),
  ).toBe(true);
});

test("bytes that are no JSON-RPC, and invalid UTF-8, do not end the server or reach a tool", async () => {
  using own = testData();
  const child = spawn(process.execPath, [ENTRY, "serve", "--log-level", "silent"], {
    env: { ...process.env, GLOVEBOX_DATA_DIR: own.directory },
    stdio: ["pipe", "pipe", "ignore"],
  });
  let out = "";
  child.stdout.on("data", (chunk) => (out += chunk));
  child.stdin.write("not json\n");
  child.stdin.write(Buffer.from([0xff, 0xfe, 0x00, 0x0a]));
  child.stdin.write('{"jsonrpc":"2.0","id":1,"method":"nothing/such"}\n');
  child.stdin.write(
    `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"exec","arguments":{"argv":["${"\\ud800"}"]}}}\n`,
  );
  child.stdin.write('{"jsonrpc":"2.0","id":3,"method":"ping"}\n');
  await expect.poll(() => out).toContain('"id":3');
  await expect.poll(() => out).toContain('"id":2');
  expect(out).toMatch(/"id":1,"error"/);
  expect(out).toContain("INVALID_ARGUMENTS");
  child.stdin.end();
  await processGone(child.pid ?? -1);
});
