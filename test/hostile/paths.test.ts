import { afterAll, beforeAll, expect, test } from "vitest";
import { connect, shippedPolicy, type TestClient, type TestData, testData } from "../support/gateway.ts";

/** Every way of naming another file than the one that policy saw, in every file tool [G12]. */
let data: TestData;
let agent: TestClient;

beforeAll(async () => {
  data = testData();
  agent = await connect(data, ["--policy", shippedPolicy("default")]);
  const script = `set -e
mkdir -p /workspace/real /workspace/dir
echo secret > /workspace/real/secret.txt
ln -s /workspace/real/secret.txt /workspace/dir/link-to-file
ln -s /workspace/real /workspace/dir/link-to-dir
ln -s /etc/passwd /workspace/dir/link-outside
ln -s link-loop /workspace/dir/link-loop
ln -s nowhere /workspace/dir/dangling
ln /workspace/real/secret.txt /workspace/dir/hard
mkfifo /workspace/dir/fifo
python3 -c "import socket;socket.socket(socket.AF_UNIX).bind('/workspace/dir/sock')"`;
  const made = await agent.call("shell", { script });
  expect(made.result?.exitCode, made.text).toBe(0);
});

afterAll(async () => {
  await agent?.[Symbol.asyncDispose]();
  data?.[Symbol.dispose]();
});

type Make = (path: string) => [tool: string, args: Record<string, unknown>];
const FILE_TOOLS: readonly Make[] = [
  (path) => ["readFile", { path }],
  (path) => ["writeFile", { path, content: "overwritten" }],
  (path) => ["editFile", { path, edits: [{ oldText: "secret", newText: "changed" }] }],
];
const ALL_TOOLS: readonly Make[] = [
  ...FILE_TOOLS,
  (path) => ["listDirectory", { path }],
  (path) => ["searchFiles", { path, pattern: "secret" }],
];

async function answers(make: Make, path: string) {
  const [tool, args] = make(path);
  return await agent.call(tool, args);
}

test("`..` is resolved before the decision: a path out of the workspace is decided as what it is", async () => {
  for (const path of ["/workspace/../etc/hosts", "../etc/hosts", "/workspace/./real/../../etc/hosts", "//etc//hosts"]) {
    const [, write] = FILE_TOOLS;
    if (!write) throw new Error("no tool");
    const answer = await answers(write, path);
    expect(answer.text, path).toMatch(/^DENIED/);
  }
  const climbed = await agent.call("readFile", { path: "/workspace/../../../../workspace/real/secret.txt" });
  expect(climbed.text).toContain("secret");
});

test.each([
  "/workspace/dir/link-to-file",
  "/workspace/dir/link-to-dir/secret.txt",
  "/workspace/dir/link-outside",
  "/workspace/dir/link-loop",
  "/workspace/dir/dangling",
])("a symbolic link in the path is refused by every file tool: %s", async (path) => {
  for (const make of ALL_TOOLS) {
    const answer = await answers(make, path);
    expect(answer.isError, `${make(path)[0]} ${answer.text}`).toBe(true);
    expect(answer.text).toMatch(/^(PATH_IS_LINK|DENIED)/);
  }
  expect((await agent.call("readFile", { path: "/workspace/real/secret.txt" })).text).toContain("secret");
});

test("writing through a hard link leaves the other name's content alone", async () => {
  expect((await agent.call("writeFile", { path: "/workspace/dir/hard", content: "new" })).isError).toBe(false);
  expect((await agent.call("readFile", { path: "/workspace/real/secret.txt" })).text).toContain("secret");
});

test("pipes, sockets, devices and directories are not files", async () => {
  for (const path of ["/workspace/dir/fifo", "/workspace/dir/sock", "/workspace/dir", "/dev/zero", "/proc/self/mem"]) {
    for (const make of FILE_TOOLS) {
      const answer = await answers(make, path);
      expect(answer.isError, `${make(path)[0]} ${path} ${answer.text}`).toBe(true);
      expect(answer.text).toMatch(/^(NOT_A_FILE|DENIED|PATH_IS_LINK|PATH_NOT_WRITABLE|FILE_NOT_FOUND)/);
    }
  }
});

test("NUL, lone surrogates and overlong paths are bad arguments that name the field", async () => {
  for (const path of [
    "/workspace/a\0b",
    "/workspace/\ud800",
    `/workspace/${"a".repeat(300)}`,
    `/${"a/".repeat(3000)}`,
    "",
  ]) {
    for (const make of ALL_TOOLS) {
      const answer = await answers(make, path);
      expect(answer.text, JSON.stringify(path.slice(0, 30))).toMatch(/^INVALID_ARGUMENTS: [\s\S]*path/);
    }
  }
});

test("hostile file names are listed whole, cannot forge entries, and reach no terminal raw", async () => {
  const code = `
import os
os.makedirs(b'/workspace/names', exist_ok=True)
for n in (b'-rf', b'new\\nline', b'tab\\there', b'\\x1b[31mred', b'bad\\xff\\xfeutf8', '\\u202egpj.exe'.encode(), b'..hidden', b' lead', b'"quote\\'', b'x' * 255):
    open(b'/workspace/names/' + n, 'w').close()
`;
  expect((await agent.call("exec", { argv: ["python3", "-c", code] })).result.exitCode).toBe(0);
  const listed = await agent.call("listDirectory", { path: "/workspace/names" });
  expect(listed.isError, listed.text).toBe(false);
  expect(listed.result.entries).toHaveLength(10);
  expect(listed.text).not.toContain("\u001b");
  expect(listed.text).not.toContain("\u202e");
  for (const path of ["/workspace/names/-rf", "/workspace/names/new\nline", "/workspace/names/ lead"]) {
    const wrote = await agent.call("writeFile", { path, content: "content here" });
    expect(wrote.isError, wrote.text).toBe(false);
    expect((await agent.call("readFile", { path })).text).toContain("content here");
  }
  const found = await agent.call("searchFiles", { path: "/workspace/names", pattern: "content here" });
  expect(found.result.matches).toHaveLength(3);
});
