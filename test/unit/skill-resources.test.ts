import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { InMemoryTransport } from "@modelcontextprotocol/sdk/inMemory.js";
import { expect, onTestFinished, test } from "vitest";
import { createLog } from "../../src/log.ts";
import { createServer } from "../../src/mcp/server.ts";
import { decide } from "../../src/policy/decide.ts";
import { useRequest } from "../../src/skill/use-skill.ts";
import { goodSkill } from "../support/skill.ts";
import { PERMIT_SKILLS, skillGateway } from "../support/skill-gateway.ts";

/** A client of a gateway with the skills `demo` and `other`. */
async function connected(cedar: string) {
  const gateway = await skillGateway(
    { ...goodSkill(), ...goodSkill("other"), "demo/data.bin": Buffer.from([0xff, 0x00]) },
    { cedar },
  );
  const server = createServer({
    version: "0",
    instructions: "",
    capabilities: (principal) => gateway.tools.listed(principal, gateway.policy.current.profile),
    onCapabilities: (listener) => gateway.tools.shelf.onChange(listener),
    skills: (principal) =>
      [...gateway.tools.shelf.skills.values()].flatMap((it) =>
        decide(gateway.policy.current, useRequest(it, principal)).outcome === "permit" ? [it.skill] : [],
      ),
    call: ({ tool, args, principal }) => gateway.call(tool, args, principal),
    stopping: new AbortController().signal,
    log: createLog("silent"),
  });
  const client = new Client({ name: "tests", version: "1" });
  const [one, two] = InMemoryTransport.createLinkedPair();
  await Promise.all([server.connect(one), client.connect(two)]);
  onTestFinished(() => client.close());
  return client;
}

test("the files of a skill are resources, its instructions a prompt", async () => {
  const client = await connected(PERMIT_SKILLS);
  const { resources } = await client.listResources();
  expect(resources.map((it) => it.uri)).toEqual([
    "skill://demo/SKILL.md",
    "skill://demo/capabilities.yaml",
    "skill://demo/data.bin",
    "skill://other/SKILL.md",
    "skill://other/capabilities.yaml",
  ]);
  expect(await client.readResource({ uri: "skill://demo/data.bin" })).toMatchObject({
    contents: [{ blob: "/wA=", mimeType: "application/octet-stream" }],
  });
  const { messages } = await client.getPrompt({ name: "demo", arguments: { request: "paint" } });
  expect(messages).toMatchObject([{ role: "user", content: { text: expect.stringContaining("What I want: paint") } }]);
});

test.each([
  "skill://demo/../other/SKILL.md",
  "skill://demo/./SKILL.md",
  "skill://demo/SKILL.md/",
  "skill://DEMO/SKILL.md",
  "skill://demo/SKILL%2Emd",
  "skill://demo//etc/passwd",
  "file:///etc/passwd",
  "skill://demo/__proto__",
])("%s is no resource", async (uri) => {
  const client = await connected(PERMIT_SKILLS);
  await expect(client.readResource({ uri })).rejects.toThrow("there is no resource");
});

test("of a skill that policy forbids, or leaves to a person, there is no resource and no prompt", async () => {
  for (const annotation of ["", '@outcome("ask")']) {
    const client = await connected(`${PERMIT_SKILLS}
      @reason("no") ${annotation} forbid (principal, action == Glovebox::Action::"useSkill", resource) when { context.skill.name == "other" };`);
    const { resources } = await client.listResources();
    const { prompts } = await client.listPrompts();
    expect(JSON.stringify([resources, prompts])).not.toContain("other");
    expect(prompts.map((it) => it.name)).toEqual(["demo"]);
    await expect(client.readResource({ uri: "skill://other/SKILL.md" })).rejects.toThrow("there is no resource");
    await expect(client.getPrompt({ name: "other" })).rejects.toThrow("there is no prompt");
  }
});

test("a client is told of the tools of a skill when it is used, and can call them", async () => {
  const client = await connected(PERMIT_SKILLS);
  const names = async () => (await client.listTools()).tools.map((it) => it.name);
  expect(await names()).not.toContain("demo_show");
  const changed = Promise.withResolvers<void>();
  client.fallbackNotificationHandler = async ({ method }) => {
    if (method === "notifications/tools/list_changed") changed.resolve();
  };
  await client.callTool({ name: "useSkill", arguments: { name: "demo" } });
  await changed.promise;
  expect(await names()).toContain("demo_show");
  expect(await client.callTool({ name: "demo_show" })).toMatchObject({ structuredContent: { ok: true } });
  expect(await client.callTool({ name: "runCapability", arguments: { capability: "demo_show" } })).toMatchObject({
    structuredContent: { ok: true },
  });
});
