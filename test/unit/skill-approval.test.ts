import { expect, test } from "vitest";
import { patternOf } from "../../src/approval/pattern.ts";
import { sameness } from "../../src/approval/question.ts";
import { definitionOf, INTRODUCTION } from "../support/skill.ts";
import { PERMIT_SKILLS, skillGateway } from "../support/skill-gateway.ts";

const ASK = `${PERMIT_SKILLS}
@id("people") @outcome("ask") @reason("a person decides")
forbid (principal, action in Glovebox::Action::"skills", resource);`;

/** A skill whose one capability has these parameters, and uses them. */
function skillWith(properties: Readonly<Record<string, object>>): Record<string, string> {
  const described = Object.entries(properties).map(([name, it]) => [name, { description: "Something.", ...it }]);
  const parameters = { type: "object", properties: Object.fromEntries(described) };
  const argv = ["true", ...Object.keys(properties).map((name) => ({ arg: `--x={${name}}`, when: name }))];
  return {
    "demo/SKILL.md": INTRODUCTION,
    "demo/capabilities.yaml": definitionOf({ parameters, steps: [{ argv }] }),
  };
}

const TEXT = { type: "string", maxLength: 10_000 };
const INTEGER = { type: "integer", minimum: 0, maximum: 9_999 };

async function asked(properties: Readonly<Record<string, object>>, args: object) {
  const gateway = await skillGateway(skillWith(properties), { cedar: ASK });
  await gateway.call("useSkill", { name: "demo" });
  await gateway.call("demo_show", args);
  const it = gateway.asked.at(-1);
  if (it?.request.action !== "demo_show") throw new Error("nobody was asked");
  return { ...it, lines: it.details.map(({ label, text }) => `${label}: ${text}`) };
}

test("a person who is asked about a skill's call sees which skill it is, and every argument, whatever its name", async () => {
  const names = [
    ...["path", "method", "scheme", "address", "ecosystem", "host", "argv0", "script", "env", "encoding", "pattern"],
    ...["stdin", "sha256", "content", "bytes", "command", "tool", "session", "version", "digest", "environment"],
  ];
  const properties = Object.fromEntries(names.map((name) => [name, TEXT]));
  const args = Object.fromEntries(names.map((name) => [name, `value of ${name}`]));
  const { lines } = await asked(properties, args);
  expect(lines.slice(0, 1)).toEqual(["tool: demo_show"]);
  expect(lines.join("\n")).toMatch(/^skill: demo 1\.0\.0, sha256:[0-9a-f]{64}, not pinned$/m);
  for (const name of names) expect(lines).toContain(`argument ${name}: value of ${name}`);
});

test("numbers, switches and lists are shown as they are, those that look like nothing too", async () => {
  const properties = {
    port: INTEGER,
    mode: INTEGER,
    packages: { type: "array", items: { type: "string", maxLength: 20 }, maxItems: 5 },
    dryRun: { type: "boolean", default: true },
    none: INTEGER,
    empty: TEXT,
    cwd: { type: "string", format: "path" },
  };
  const args = { port: 80, mode: 8, packages: ["a", "b"], dryRun: false, none: 0, empty: "", cwd: "a/../b" };
  const { lines } = await asked(properties, args);
  for (const it of [
    "port: 80",
    "mode: 8",
    'packages: ["a","b"]',
    "dryRun: false",
    "none: 0",
    "empty: ",
    "cwd: /workspace/b",
  ]) {
    expect(lines).toContain(`argument ${it}`);
  }
});

test("nothing in an argument is hidden, and what is long says so", async () => {
  const { lines } = await asked({ text: TEXT }, { text: `a\u202eb${"x".repeat(9_000)}` });
  const line = lines.find((it) => it.startsWith("argument text: "));
  expect(line).toMatch(
    /^argument text: a\\u\{202e\}bx+ \(CUT HERE: the rest is not shown; in all 9005 bytes, sha256 [0-9a-f]{64}\)$/,
  );
});

test("another call is another question, and no wider grant: whatever its parameters are called", async () => {
  const one = await asked({ timeoutMs: INTEGER, path: TEXT }, { timeoutMs: 1, path: "a" });
  for (const args of [
    { timeoutMs: 2, path: "a" },
    { timeoutMs: 1, path: "b" },
  ]) {
    const other = await asked({ timeoutMs: INTEGER, path: TEXT }, args);
    expect(sameness(other)).not.toBe(sameness(one));
    expect(patternOf(other)?.key).not.toBe(patternOf(one)?.key);
  }
  const same = await asked({ timeoutMs: INTEGER, path: TEXT }, { timeoutMs: 1, path: "a" });
  expect(sameness(same)).toBe(sameness(one));
  expect(patternOf(same)).toMatchObject({ key: patternOf(one)?.key, text: "demo_show again, exactly like this" });
});

test("through runCapability a person is asked about what runs", async () => {
  const gateway = await skillGateway(skillWith({ path: TEXT }), { cedar: ASK });
  await gateway.call("useSkill", { name: "demo" });
  await gateway.call("runCapability", { capability: "demo_show", arguments: { path: "x" } });
  expect(gateway.asked.at(-1)?.details).toContainEqual({ label: "argument path", text: "x" });
});

test("a person sees which programs would run, as they would be given them", async () => {
  const { lines } = await asked({ path: TEXT, text: TEXT }, { path: "a b", text: "c\u0430\u202e" });
  expect(lines.filter((it) => it.startsWith("runs"))).toEqual(['runs: ["true","--x=a b","--x=c\\u{430}\\u{202e}"]']);
  const other = await asked({ path: TEXT, text: TEXT }, { path: "a b" });
  expect(other.lines.filter((it) => it.startsWith("runs"))).toEqual(['runs: ["true","--x=a b"]']);
});
