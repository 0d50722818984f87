import { createHash } from "node:crypto";
import fc from "fast-check";
import { expect, test } from "vitest";
import { questionText } from "../../src/approval/text.ts";
import { ascii, visible, visibleLines } from "../../src/lib/visible.ts";
import { askedFor, testChannel, testDesk } from "../support/approval.ts";

const UNSEEN = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u;

const codePoint = fc.oneof(fc.integer({ min: 0, max: 0x10ffff }), fc.integer({ min: 0, max: 0x3100 }));

function shown(tool: string, args: Record<string, unknown>): string[] {
  return askedFor(tool, args).details.map(({ label, text }) => `${label}: ${text}`);
}

test("of a program, what runs, where, and with what", () => {
  expect(
    shown("exec", {
      argv: ["git", "commit", "-m", "it's"],
      cwd: "a",
      env: { LANG: "C", TOKEN: "x9Gf3kLmQ2" },
      stdin: "in",
    }),
  ).toEqual([
    "tool: exec",
    "command: git commit -m 'it'\\''s'",
    'argv: ["git","commit","-m","it\'s"]',
    `standard input: in\n(2 bytes, sha256 ${sha256("in")})`,
    "environment: LANG=C",
    "environment: TOKEN=(looks like a secret: 10 bytes)",
    "cwd: /workspace/a",
  ]);
});

test("no variable that decides what runs is hidden as a secret", () => {
  const token = `ghp_${"a1B2".repeat(9)}`;
  for (const [name, value] of [
    ["GIT_SSH_COMMAND", `sh -c evil ${token}`],
    ["GIT_SSH_COMMAND", "evil TOKEN=x"],
    ["GIT_ASKPASS", "evil"],
    ["SSH_ASKPASS", "/workspace/evil"],
    ["MY_TOKEN", "$(evil)"],
    ["API_KEY", "/workspace/evil"],
  ] as const) {
    expect(shown("exec", { argv: ["git", "fetch"], env: { [name]: value } }).join("\n")).toContain("evil");
  }
  for (const name of ["GITHUB_TOKEN", "X"])
    expect(shown("exec", { argv: ["git", "fetch"], env: { [name]: token } }).join("\n")).not.toContain("ghp_");
});

test("nothing that is not seen gets past: not in either form of a command", () => {
  const [, command, argv] = shown("exec", { argv: ["echo", "a\u202eb\u200bc\nd\u0430\u{e0041}"] });
  expect(command).toBe("command: echo 'a\\u{202e}b\\u{200b}c\\u{a}dа\\u{e0041}'");
  // A letter that only looks like another is told apart here.
  expect(argv).toBe('argv: ["echo","a\\u{202e}b\\u{200b}c\\nd\\u{430}\\u{e0041}"]');
});

test("a script is shown as it is; a long one says what is missing", () => {
  const script = "cd /tmp\n\trm -rf x\u001b[2K";
  expect(shown("shell", { script })[1]).toBe(
    `script: cd /tmp\n\trm -rf x\\u{1b}[2K\n(21 bytes, sha256 ${sha256(script)})`,
  );
  const long = `${"#".repeat(2_000)}evil`;
  const text = shown("shell", { script: long })[1];
  expect(text).toContain(`(CUT HERE: 4 more characters are not shown; in all 2004 bytes, sha256 ${sha256(long)})`);
  expect(text).not.toContain("evil");
});

test("of files, where and what", () => {
  const bytes = Buffer.from([0, 255, 1]);
  const content = shown("writeFile", {
    path: "/etc/../tmp/x",
    content: bytes.toString("base64"),
    encoding: "base64",
    mode: "755",
  });
  expect(content).toEqual(
    expect.arrayContaining(["path: /tmp/x", `content: (binary) 3 bytes, sha256 ${sha256(bytes)}`, "mode: 0755"]),
  );
  const edits = Array.from({ length: 10 }, (_, n) => ({ oldText: `${n}`, newText: "b" }));
  const edited = shown("editFile", { path: "x", edits });
  expect(edited).toHaveLength(2 * 8 + 3);
  expect(edited).toContainEqual(expect.stringContaining("CUT HERE: 2 more are not shown"));
});

test("of a connection, host, port, method and path; of packages, names and versions", () => {
  expect(shown("connect", { host: "example.org", method: "PUT", path: "/a/%41" })).toContainEqual(
    "connects to: PUT https://example.org:443/a/A",
  );
  const packages = [{ name: "lodash", version: "4.17.21" }, { name: "@acme/x" }];
  expect(shown("installPackage", { ecosystem: "npm", packages, directory: "web", global: true })).toEqual([
    "tool: installPackage",
    "npm package: pkg:npm/%40acme/x",
    "npm package: pkg:npm/lodash@4.17.21",
    "directory: web",
    "global: true",
  ]);
});

test("whatever is shown is one line, or says that it is more; and what is escaped is not seen otherwise", () => {
  fc.assert(
    fc.property(fc.array(codePoint), (points) => {
      const text = String.fromCodePoint(...points);
      expect(UNSEEN.test(visible(text))).toBe(false);
      expect(UNSEEN.test(visibleLines(text).replaceAll(/[\n\t]/g, ""))).toBe(false);
      expect(/^[ -~]*$/.test(ascii(text))).toBe(true);
    }),
  );
  const plain = "zażółć 漢字 = `x`; {a} \\ ~";
  expect([visible(plain), visibleLines(`${plain}\n\t`)]).toEqual([plain, `${plain}\n\t`]);
});

test("no line of what the agent chose looks like one of the gateway's", async () => {
  const script = "true\n\nAsked by nobody\nUnanswered, it is allowed";
  const terminal = testChannel("terminal", {});
  const desk = await testDesk([terminal]);
  await desk.ask(askedFor("shell", { script }));
  const [question] = terminal.questions;
  if (!question) throw new Error("nothing was asked");
  const lines = questionText(question).split("\n");
  expect(lines.filter((it) => it.startsWith("Asked by"))).toEqual(["Asked by t.cedar#people: a person decides"]);
  expect(lines).toContain("    | Unanswered, it is allowed");
  expect(lines).toContain("Allowing it for the session also allows: exactly this script, in /workspace.");
  expect(lines.at(-1)).toBe(`Unanswered, it is denied at ${question.expiresAt}.`);
});

function sha256(content: string | Buffer): string {
  return createHash("sha256").update(content).digest("hex");
}
