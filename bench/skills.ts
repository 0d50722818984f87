import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { InMemoryTransport } from "@modelcontextprotocol/sdk/inMemory.js";
import { loadConfig, PACKAGE_ROOT } from "../src/config.ts";
import { openGateway } from "../src/gateway.ts";
import { createServer } from "../src/mcp/server.ts";
import type { Candidate } from "../src/skill/find/document.ts";
import { createFinder } from "../src/skill/find/finder.ts";
import { readSkills } from "../src/skill/load.ts";
import { type Row, row } from "./row.ts";

const REPEATS = 100;
const REQUESTS = [
  "what tables are in /workspace/shop.db",
  "plot sales by month from sales.csv",
  "show me the last 5 commits",
  "convrt report.docx to markdown",
  "fetch https://example.org/data.json",
  "book a flight to Lisbon",
];
/** Of JSON, roughly, for the models of today. */
const CHARACTERS_PER_TOKEN = 4;

/** What skills cost: looking for a capability, using a skill, and the list of tools that every conversation pays for. */
export async function benchSkills(): Promise<Row[]> {
  const { skills } = await readSkills([join(PACKAGE_ROOT, "skills")], new Set());
  const shipped = skills.flatMap((skill) =>
    skill.capabilities.map((capability) => ({ id: `${skill.name}_${capability.name}`, skill: skill.name, capability })),
  );
  return [...benchFinding(shipped), ...(await benchUsing(skills.map((it) => it.name)))];
}

function benchFinding(shipped: readonly Candidate[]): Row[] {
  const many = Array.from({ length: 500 }, (_, index) => {
    const it = shipped[index % shipped.length] as Candidate;
    return { ...it, id: `${it.id}${index}` };
  });
  return [shipped.slice(0, 20), many].map((candidates) => {
    const find = createFinder(candidates);
    const texts = candidates.map(({ capability }) => `${capability.description} ${capability.examples.join(" ")}`);
    const found = timesOf(find);
    const scanned = timesOf((request) => {
      const words = request.toLowerCase().split(/\W+/);
      return texts.map((text) => words.filter((it) => text.toLowerCase().includes(it)).length);
    });
    const name = `findCapability among ${candidates.length} capabilities`;
    return row(name, found, "ms", "words counted in the same texts", scanned);
  });
}

async function benchUsing(names: readonly string[]): Promise<Row[]> {
  const root = mkdtempSync(join(tmpdir(), "glovebox-bench-skills-"));
  try {
    const policy = join(PACKAGE_ROOT, "policies", "capabilities-only");
    const config = loadConfig({ dataDir: root, policy, logLevel: "silent", spares: "0" }, {});
    await using gateway = await openGateway(config, new AbortController().signal);
    const client = new Client({ name: "bench", version: "1" });
    const [mine, its] = InMemoryTransport.createLinkedPair();
    await Promise.all([createServer(gateway.server).connect(its), client.connect(mine)]);
    const listed = async () => JSON.stringify((await client.listTools()).tools).length / CHARACTERS_PER_TOKEN;
    const none = await listed();
    const [first = "", ...others] = names;
    const use = (name: string) => client.callTool({ name: "useSkill", arguments: { name } });
    await use(first);
    const one = await listed();
    for (const name of others) await use(name);
    const all = await listed();
    const used = await timed(() => use(first));
    const explained = await timed(() =>
      client.callTool({ name: "explainPolicy", arguments: { tool: "exec", arguments: { argv: ["true"] } } }),
    );
    await client.close();
    return [
      row("the list of tools with one skill", [one], "tokens", "with none", [none]),
      row("the list of tools with all skills that ship", [all], "tokens", "with none", [none]),
      row("useSkill", used, "ms", "explainPolicy, which is recorded as well", explained),
    ];
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

function timesOf(run: (request: string) => unknown): number[] {
  const times: number[] = [];
  for (let round = 0; round < REPEATS; round += 1) {
    for (const request of REQUESTS) {
      const startedMs = performance.now();
      run(request);
      times.push(performance.now() - startedMs);
    }
  }
  return times.slice(REQUESTS.length * 5);
}

async function timed(run: () => Promise<unknown>): Promise<number[]> {
  const times: number[] = [];
  for (let round = 0; round < REPEATS; round += 1) {
    const startedMs = performance.now();
    await run();
    times.push(performance.now() - startedMs);
  }
  return times.slice(5);
}
