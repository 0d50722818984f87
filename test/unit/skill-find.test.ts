import fc from "fast-check";
import { expect, test } from "vitest";
import { placed } from "../../src/skill/find/cue.ts";
import { fill } from "../../src/skill/find/fill.ts";
import { createFinder, MAX_REQUEST_CHARS } from "../../src/skill/find/finder.ts";
import { readingsOf } from "../../src/skill/find/piece.ts";
import { slotsOf } from "../../src/skill/find/slot.ts";
import { inputSchema } from "../../src/skill/parameters.ts";
import type { Parameter, ParameterType } from "../../src/skill/skill.ts";
import { shippedCapabilities } from "../support/shipped-skills.ts";
import { NO_REQUESTS, REQUESTS } from "../support/skill-requests.ts";

/** Emulated and busy computers are many times slower than any other. */
const MANY_MS = 5_000;
const MAX_FOUND = 5;

const candidates = await shippedCapabilities();
const find = createFinder(candidates);
const byId = new Map(candidates.map((it) => [it.id, it.capability]));

const text = (of: Partial<ParameterType & { kind: "string" }> = {}): ParameterType => ({
  kind: "string",
  minLength: 1,
  maxLength: 200,
  ...of,
});
const parameter = (name: string, type: ParameterType, description = "", required = false): Parameter => ({
  name,
  type,
  description,
  required,
});

/** What the words of a request determine of these parameters, in its likeliest reading. */
function filled(parameters: readonly Parameter[], request: string): unknown {
  const [reading = []] = readingsOf(request);
  return fill(slotsOf(parameters), placed(reading)).arguments;
}

const path = parameter("path", { kind: "path" }, "The file.", true);
const limit = parameter("limit", { kind: "integer", minimum: 1, maximum: 100 }, "Most rows of the result.");
const ref = parameter("ref", text({ pattern: "[\\p{L}\\p{N}_@][\\p{L}\\p{N}_@^~./-]*" }), "Branch, tag or commit.");

test.each<[string, readonly Parameter[], string, unknown]>([
  ["an absolute path", [path], "/workspace/data/a.csv", { path: "/workspace/data/a.csv" }],
  ["a relative path", [path], "in data/sales.csv, please", { path: "data/sales.csv" }],
  ["a file's name at the end of a sentence", [path], "with a.csv.", { path: "a.csv" }],
  ["a path with spaces in quotes", [path], 'of "/workspace/a b.csv"', { path: "/workspace/a b.csv" }],
  ["a path in typographic quotes", [path], "of “my notes.md”", { path: "my notes.md" }],
  ["two paths for one place", [path], "a.csv b.csv", {}],
  ["words that are no path", [path], "and/or 24/7 TCP/IP 2024/01/31", {}],
  ["a host is no path", [path], "example.com", {}],
  ["a mail's address is no path", [path], "bob@example.com", {}],
  [
    "a URL",
    [parameter("url", { kind: "url" }, "", true)],
    "https://a.example/x?y=1",
    { url: "https://a.example/x?y=1" },
  ],
  [
    "a URL in brackets",
    [parameter("url", { kind: "url" }, "", true)],
    "(http://a.example/)",
    { url: "http://a.example/" },
  ],
  [
    "a URL's part",
    [parameter("url", { kind: "url" }, "", true)],
    "https://a.example/x#y",
    { url: "https://a.example/x" },
  ],
  ["a URL with a password", [parameter("url", { kind: "url" }, "", true)], "https://me:pw@a.example/", {}],
  ["another scheme", [parameter("url", { kind: "url" }, "", true)], "file:///etc/passwd", {}],
  [
    "a site without a scheme",
    [parameter("url", { kind: "url" }, "", true)],
    "example.com/x",
    { url: "https://example.com/x" },
  ],
  [
    "a host",
    [parameter("host", { kind: "host" }, "", true)],
    "on db.example.org:5432",
    { host: "db.example.org:5432" },
  ],
  ["an address", [parameter("host", { kind: "host" }, "", true)], "at 192.0.2.7", { host: "192.0.2.7" }],
  ["a file is no host", [parameter("host", { kind: "host" }, "", true)], "main.py", {}],
  ["top 20", [limit], "for the top 20", { limit: 20 }],
  ["a name before", [limit], "with limit 5", { limit: 5 }],
  ["a name and an equals sign", [limit], "limit=5", { limit: 5 }],
  ["a name and a colon", [limit], "limit: 5", { limit: 5 }],
  ["a word of the description after", [limit], "12 rows", { limit: 12 }],
  ["a number's word", [limit], "for the last three", { limit: 3 }],
  ["a number that is not permitted", [limit], "top 5000", {}],
  ["a number of nothing", [limit], "in 2024", {}],
  ["a fraction", [limit], "top 2.5", {}],
  ["a number of another unit", [limit], "limit 30 seconds", {}],
  ["two numbers for one place", [limit], "top 5 or top 7", {}],
  ["a version", [parameter("version", text())], "v1.2.3-rc.1", { version: "v1.2.3-rc.1" }],
  ["a version is nothing else's", [parameter("title", text())], "1.2.3", {}],
  ["a branch", [ref], "on feature/login", { ref: "feature/login" }],
  ["a branch that is called so everywhere", [ref], "on main", { ref: "main" }],
  ["a commit", [ref], "at HEAD~2", { ref: "HEAD~2" }],
  ["a commit's hash", [ref], "4f2a91c", { ref: "4f2a91c" }],
  ["an ordinary word is no branch", [ref], "on whatever", {}],
  ["a word that is called so", [parameter("name", text())], "called frodo", { name: "frodo" }],
  ["a word behind its name is a guess", [parameter("branch", text())], "branch soon", {}],
  ["a title", [parameter("title", text())], 'titled "Sales in May"', { title: "Sales in May" }],
  ["a text that nothing is said of", [parameter("title", text())], 'and "Sales in May"', {}],
  [
    "a text that must be given",
    [parameter("sql", text({ maxLength: 5_000 }), "", true)],
    'now "select 1"',
    { sql: "select 1" },
  ],
  ["an apostrophe opens no text", [parameter("sql", text(), "", true)], "don't and won't", {}],
  [
    "what follows a colon",
    [parameter("message", text({ maxLength: 5_000 }), "", true)],
    "now: it is done",
    { message: "it is done" },
  ],
  ["a text that is too long", [parameter("word", text({ maxLength: 3 }), "", true)], '"select"', {}],
])("values: %s", (_, parameters, request, expected) => {
  expect(filled(parameters, request)).toEqual(expected);
});

const kind = parameter("kind", { kind: "enum", values: ["line", "bar"] }, "Kind of chart.");
const format = parameter("format", { kind: "enum", values: ["json", "csv"] }, "Form of the result.");
const csv = parameter("path", { kind: "path" }, "CSV file.", true);
const log = parameter("log", { kind: "boolean" }, "Logarithmic scale of the values.");
const allow = parameter("allowHtml", { kind: "boolean" }, "Let HTML through.");

test.each<[string, readonly Parameter[], string, unknown]>([
  ["a choice", [kind], "as a bar chart", { kind: "bar" }],
  ["a choice in the plural", [kind], "with lines", { kind: "line" }],
  ["two choices", [kind], "with a line or a bar", {}],
  ["a choice that is no choice", [kind], "with a pie", {}],
  ["the choice that it is to become", [format], "json to csv", { format: "csv" }],
  ["what is there is not what is wanted", [csv, format], "the csv a.csv", { path: "a.csv" }],
  ["yes", [log], "with log scale", { log: true }],
  ["yes, as an option", [log], "--log", { log: true }],
  ["yes, by two words", [allow], "allow html", { allowHtml: true }],
  ["no", [log], "without log scale", { log: false }],
  ["no, said of it", [log], "log=false", { log: false }],
  ["yes and no", [log], "with log scale, without log scale", {}],
  ["the word in another place", [log], "the log of yesterday", {}],
])("choices: %s", (_, parameters, request, expected) => {
  expect(filled(parameters, request)).toEqual(expected);
});

const from = parameter("path", { kind: "path" }, "File to read.", true);
const out = parameter("out", { kind: "path" }, "File to write.");
const directory = parameter("directory", { kind: "path" }, "Where the project is.");
const file = parameter("file", { kind: "path" }, "A file of it.");

test.each<[string, readonly Parameter[], string, unknown]>([
  ["the only one is what must be given", [from, out], "a.md", { path: "a.md" }],
  ["`to` leads to the output", [out, from], "a.md to b.html", { path: "a.md", out: "b.html" }],
  ["a name decides", [out, from], "out b.html path a.md", { path: "a.md", out: "b.html" }],
  ["`out of` is none of `out`", [out, from], "out of a.md", { path: "a.md" }],
  ["a file is no directory", [directory, file], "src/a.ts", { file: "src/a.ts" }],
  ["a directory", [directory, file], "in /workspace/api", { directory: "/workspace/api" }],
  [
    "two in the order of two",
    [parameter("from", ref.type, "A commit."), parameter("to", ref.type)],
    "v1.0.0 and v1.1.0",
    { from: "v1.0.0", to: "v1.1.0" },
  ],
  [
    "one for two",
    [parameter("left", ref.type, "A commit."), parameter("right", ref.type, "A commit.")],
    "against v1.0.0",
    {},
  ],
  [
    "all of a list",
    [parameter("paths", { kind: "strings", maxItems: 3, maxLength: 100 }, "Files.", true)],
    "a.ts b.ts and c.ts",
    { paths: ["a.ts", "b.ts", "c.ts"] },
  ],
  [
    "more than a list takes",
    [parameter("paths", { kind: "strings", maxItems: 1, maxLength: 100 }, "Files.", true)],
    "a.ts b.ts",
    {},
  ],
])("several: %s", (_, parameters, request, expected) => {
  expect(filled(parameters, request)).toEqual(expected);
});

test("what looks like a value says nothing of what is meant", () => {
  for (const value of ["/workspace/slack/test.py", "https://slack.com/git/plot", "slack.com"]) {
    expect(find(value)).toEqual([]);
    expect(find(`what about ${value}`)).toEqual([]);
  }
});

test("what is in quotes says nothing of what is meant", () => {
  expect(find("what about 'post a message to slack'?")).toEqual([]);
});

test("a request in quotes is a request", () => {
  expect(find('"plot sales by month from sales.csv"')).toEqual(find("plot sales by month from sales.csv"));
});

test("the order of the capabilities changes nothing", () => {
  const requests = [...REQUESTS.map(([request]) => request), ...NO_REQUESTS];
  const answers = requests.map((it) => JSON.stringify(find(it)));
  const shuffled = fc.shuffledSubarray([...candidates], { minLength: candidates.length });
  fc.assert(
    fc.property(shuffled, fc.nat(requests.length - 1), (order, at) => {
      expect(JSON.stringify(createFinder(order)(requests[at] ?? ""))).toBe(answers[at]);
    }),
    { numRuns: 20 },
  );
});

test("the same request has the same answer, whatever was asked before", () => {
  const [first, ...others] = REQUESTS.map(([request]) => request);
  const before = JSON.stringify(find(first ?? ""));
  for (const it of others) find(it);
  expect(JSON.stringify(find(first ?? ""))).toBe(before);
});

/** Words of requests with anything between them. */
const noise = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.string(),
  fc.constantFrom("\0", "\ud800", "\u202e", '"', "`", ": "),
);
const word = fc.constantFrom(...new Set(REQUESTS.flatMap(([request]) => request.split(" "))));

test("whatever is asked, the answer is sound", () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(word, noise), { maxLength: 30 }), (parts) => {
      const found = find(parts.join(" ").slice(0, MAX_REQUEST_CHARS));
      expect(found.length).toBeLessThanOrEqual(MAX_FOUND);
      expect(found.map((it) => it.score)).toEqual(found.map((it) => it.score).toSorted((a, b) => b - a));
      for (const { id, score, arguments: given, missing } of found) {
        const parameters = byId.get(id)?.parameters ?? [];
        expect(score).toBeGreaterThan(0);
        expect(score).toBeLessThanOrEqual(1);
        expect(score).toBe(Math.round(score * 100) / 100);
        const required = parameters.filter((it) => it.required).map((it) => it.name);
        expect(missing).toEqual(required.filter((it) => !Object.hasOwn(given, it)));
        // All that is given is permitted.
        const stated = parameters.filter((it) => Object.hasOwn(given, it.name));
        expect(inputSchema(stated).safeParse(given).success).toBe(true);
      }
    }),
    { numRuns: 300 },
  );
});

test.each<[string, string]>([
  ["nothing", ""],
  ["spaces", " ".repeat(2_000)],
  ["too much", "plot sales.csv ".repeat(8_000)],
  ["NULs", "plot\0sales.csv\0".repeat(130)],
  ["lone surrogates", "\ud800".repeat(2_000)],
  ["a word again and again", "plot ".repeat(10_000)],
  ["a word as often as it fits", "commit ".repeat(285)],
  ["misspelt words", Array.from({ length: 285 }, (_, at) => `conv${String.fromCharCode(97 + (at % 26))}t`).join(" ")],
  ["files", "convert a.csv ".repeat(140)],
  ["sites", "fetch https://a.b ".repeat(110)],
  ["numbers", "last 3 commits ".repeat(130)],
  ["texts", 'post "a" '.repeat(220)],
  ["quotes that never close", '"'.repeat(2_000)],
  ["apostrophes", " '".repeat(1_000)],
  ["brackets", `${"(".repeat(999)}plot${")".repeat(999)}`],
  ["labels", "a: b=c ".repeat(280)],
  ["regular expressions", "(a+)+$ [[:alpha:]]{1,9999} \\p{L}* ".repeat(55)],
  ["dots", "a.".repeat(1_000)],
  ["versions", `v1.0-${"a.".repeat(900)}!`],
  ["slashes", "a/".repeat(1_000)],
  ["one long word", "a".repeat(2_000)],
  ["names of objects", "constructor __proto__ hasOwnProperty toString valueOf ".repeat(35)],
  ["letters of all kinds", "é\u0301ß\u200d👩‍👩‍👧ﬁ\ufdfa ".repeat(100)],
])("hostile: %s", (_, request) => {
  const began = performance.now();
  const found = find(request);
  expect(performance.now() - began).toBeLessThan(MANY_MS);
  expect(found.length).toBeLessThanOrEqual(MAX_FOUND);
  if (request.length > MAX_REQUEST_CHARS) expect(found).toEqual([]);
});

test("without capabilities nothing is found", () => {
  expect(createFinder([])("plot sales.csv")).toEqual([]);
});
