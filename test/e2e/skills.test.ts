import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ToolListChangedNotificationSchema } from "@modelcontextprotocol/sdk/types.js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { auditRecords, connect, type TestClient, type TestData, testData } from "../support/gateway.ts";

/** An agent that may run nothing by itself, and gets its work done. */
const ROOT = join(import.meta.dirname, "..", "..");
let data: TestData;
let agent: TestClient;
let changes = 0;

beforeAll(async () => {
  data = testData();
  const skills = join(data.directory, "skills");
  mkdirSync(skills);
  cpSync(join(ROOT, "skills", "sqlite-query"), join(skills, "tampered"), { recursive: true });
  for (const file of ["SKILL.md", "capabilities.yaml"]) {
    const path = join(skills, "tampered", file);
    writeFileSync(path, readFileSync(path, "utf8").replace("name: sqlite-query", "name: tampered"));
  }
  const digest = `sha256:${"0".repeat(64)}`;
  writeFileSync(
    join(skills, "skills.lock"),
    `format: 1\nskills:\n  - { name: "tampered", version: "1.0.0", digest: "${digest}" }\n`,
  );
  cpSync(join(ROOT, "skills", "git-repo"), join(data.directory, "more", "not-locked"), { recursive: true });
  const unlocked = join(data.directory, "more", "not-locked", "SKILL.md");
  writeFileSync(unlocked, readFileSync(unlocked, "utf8").replace("name: git-repo", "name: not-locked"));
  const policy = join(ROOT, "policies", "capabilities-only");
  const more = ["--skills", skills, join(data.directory, "more")];
  agent = await connect(data, ["--policy", policy, "--spares", "0", ...more]);
  agent.client.setNotificationHandler(ToolListChangedNotificationSchema, () => {
    changes += 1;
  });
});
afterAll(async () => {
  await agent?.[Symbol.asyncDispose]();
  data?.[Symbol.dispose]();
});

const listed = async () => (await agent.client.listTools()).tools.map((it) => it.name);

describe("under policies/capabilities-only", () => {
  test("no program runs by itself, and the answer says what does", async () => {
    for (const [tool, args] of [
      ["exec", { argv: ["true"] }],
      ["shell", { script: "true" }],
    ] as const) {
      const denied = await agent.call(tool, args);
      expect(denied).toMatchObject({ isError: true, text: expect.stringContaining("findCapability tells which") });
    }
    expect(await listed()).not.toContain("exec");
    expect(await listed()).toEqual(expect.arrayContaining(["findCapability", "useSkill", "runCapability"]));
  });

  test("plain words find a capability, with the arguments that they determine and policy's decision", async () => {
    const request = "what tables are in /workspace/shop.db";
    const { result } = await agent.call("findCapability", { request });
    expect(result.capabilities[0]).toMatchObject({
      tool: "sqlite-query_listTables",
      arguments: { database: "/workspace/shop.db" },
      missing: [],
      inUse: false,
      decision: "permit",
    });
    expect((await agent.call("findCapability", { request })).result).toEqual(result);
    const nothing = await agent.call("findCapability", { request: "book me a flight to Lisbon" });
    expect(nothing.result).toEqual({ capabilities: [] });
  });

  test("a capability waits for its skill to be used; then it is a tool, and the client is told", async () => {
    const early = await agent.call("sqlite-query_query", { database: "shop.db", sql: "SELECT 1" });
    expect(early).toMatchObject({ isError: true, text: expect.stringContaining("SKILL_NOT_USED") });
    const used = await agent.call("useSkill", { name: "sqlite-query" });
    expect(used.result).toMatchObject({ skill: "sqlite-query", missing: [] });
    expect(used.text).toContain("# SQLite");
    await expect.poll(() => changes).toBe(1);
    expect(await listed()).toContain("sqlite-query_query");
  });

  test("work is done: a table comes in, and a question about it is answered", async () => {
    await agent.call("writeFile", { path: "items.csv", content: "item,price\nbook,10\npen,2\n" });
    const imported = await agent.call("sqlite-query_importCsv", {
      database: "shop.db",
      path: "items.csv",
      table: "items",
    });
    expect(imported.result, imported.text).toMatchObject({ ok: true });
    const sql = "SELECT sum(price) AS total FROM items WHERE item <> ?";
    const asked = { database: "shop.db", sql, parameters: ["pen"] };
    const answer = await agent.call("sqlite-query_query", asked);
    expect(answer.result, answer.text).toMatchObject({ ok: true, json: { columns: ["total"], rows: [[10]] } });
    const again = await agent.call("runCapability", { capability: "sqlite-query_query", arguments: asked });
    expect(again.result.json).toEqual(answer.result.json);
    const wrong = await agent.call("sqlite-query_query", { database: "shop.db", sql: "DROP TABLE items" });
    expect(wrong).toMatchObject({ isError: false, result: { ok: false, failedStep: 1 } });
  });

  test("a call through runCapability is on record as what it is; of skills, what was used", async () => {
    const intents = auditRecords(data).flatMap(({ body }) => (body.kind === "intent" ? [body] : []));
    expect(intents.map((it) => it.tool)).not.toContain("runCapability");
    expect(intents.filter((it) => it.tool === "sqlite-query_query").length).toBeGreaterThanOrEqual(3);
    const use = intents.find((it) => it.tool === "useSkill");
    expect(use?.arguments).toEqual({
      name: "sqlite-query",
      version: "1.0.0",
      digest: expect.stringMatching(/^sha256:/),
    });
  });

  test("what differs from its lock is not there; what is not locked may not be used [G32]", async () => {
    const unknown = await agent.call("useSkill", { name: "tampered" });
    expect(unknown).toMatchObject({ isError: true, text: expect.stringContaining("there is no such skill") });
    const refused = auditRecords(data).find(({ body }) => body.kind === "event" && body.event === "skill-refused");
    expect(JSON.stringify(refused?.body)).toContain("it is not what skills.lock has");
    const unlocked = await agent.call("useSkill", { name: "not-locked" });
    expect(unlocked).toMatchObject({ isError: true, text: expect.stringContaining("skills.cedar#reviewed") });
    const { resources } = await agent.client.listResources();
    expect(resources.filter((it) => /tampered|not-locked/.test(it.uri))).toEqual([]);
  });

  test("a skill's texts are resources, and a prompt for people", async () => {
    const { contents } = await agent.client.readResource({ uri: "skill://sqlite-query/SKILL.md" });
    expect(contents[0]).toMatchObject({ mimeType: "text/markdown", text: expect.stringContaining("# SQLite") });
    const { messages } = await agent.client.getPrompt({
      name: "sqlite-query",
      arguments: { request: "sum the prices" },
    });
    expect(JSON.stringify(messages)).toContain("What I want: sum the prices");
    await expect(agent.client.readResource({ uri: "skill://sqlite-query/../../etc/passwd" })).rejects.toThrow();
  });

  test("what a skill needs and policy does not give is said, and stays missing", async () => {
    const { result } = await agent.call("useSkill", { name: "slack-notify" });
    const needs = result.missing.map((it: { need: string }) => it.need);
    expect(needs).toEqual(expect.arrayContaining(["the host slack.com", "the secret SLACK_BOT_TOKEN"]));
    const sent = await agent.call("slack-notify_postMessage", { channel: "C0123456789", text: "hello" });
    expect(sent.isError || sent.result.ok === false, sent.text).toBe(true);
  });
});
