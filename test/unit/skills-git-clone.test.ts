import { execFileSync, spawn } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { createServer } from "node:http";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { repository, userOf } from "../support/git-repository.ts";

/** Serves `served/` of the workspace by git's own HTTP. `asked` has the paths; those below /private ask for a password. */
async function host(directory: string) {
  const asked: string[] = [];
  const backend = join(execFileSync("git", ["--exec-path"], { encoding: "utf8" }).trim(), "git-http-backend");
  const server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? "", "http://x");
    asked.push(pathname);
    if (pathname.startsWith("/private")) {
      response.writeHead(401, { "www-authenticate": 'Basic realm="x"' }).end();
      return;
    }
    const child = spawn(backend, {
      env: {
        ...userOf(directory),
        GIT_PROJECT_ROOT: join(directory, "served"),
        GIT_HTTP_EXPORT_ALL: "1",
        REQUEST_METHOD: request.method,
        PATH_INFO: decodeURIComponent(pathname),
        QUERY_STRING: searchParams.toString(),
        CONTENT_TYPE: request.headers["content-type"] ?? "",
        GIT_PROTOCOL: String(request.headers["git-protocol"] ?? ""),
        HTTP_CONTENT_ENCODING: request.headers["content-encoding"] ?? "",
      },
    });
    request.pipe(child.stdin);
    const chunks: Buffer[] = [];
    child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
    child.on("close", () => {
      const all = Buffer.concat(chunks);
      const end = all.indexOf("\r\n\r\n");
      const headers = all
        .subarray(0, end)
        .toString()
        .split("\r\n")
        .map((it) => it.split(": "));
      const status = headers.find(([name]) => name === "Status")?.[1] ?? "200";
      for (const [name = "", value = ""] of headers) if (name !== "Status") response.setHeader(name, value);
      response.writeHead(Number.parseInt(status, 10)).end(all.subarray(end + 4));
    });
  });
  await new Promise<void>((listening) => server.listen(0, "127.0.0.1", listening));
  onTestFinished(() => void server.close());
  const address = server.address();
  return { asked, url: `http://127.0.0.1:${typeof address === "object" ? address?.port : ""}` };
}

test("clones over HTTP, whole or in part, without what the user or the repository would have it run", async () => {
  const made = repository();
  const { call, git, write, directory } = made;
  write(".gitmodules", '[submodule "inner"]\n\tpath = inner\n\turl = ./inner.git\n');
  git("add", ".gitmodules");
  git("update-index", "--add", "--cacheinfo", `160000,${git("rev-parse", "HEAD")},inner`);
  git("commit", "--quiet", "--message=Third");
  git("tag", "v1", "HEAD~1");
  git("clone", "--quiet", "--bare", ".git", "served/my app.git");
  const { url, asked } = await host(directory);
  // What the user has configured would run programs and lead elsewhere.
  write("home/template/hooks/post-checkout", `#!/bin/sh\ntouch ${directory}/home/ran\n`, 0o755);
  write(
    "home/.gitconfig",
    `[init]\n\ttemplateDir = ${directory}/home/template\n[url "http://127.0.0.1:1/"]\n\tinsteadOf = ${url}/\n` +
      `[core]\n\thooksPath = ${directory}/home/template/hooks\n[submodule]\n\trecurse = true\n[credential]\n\thelper = "!touch ${directory}/home/ran; :"\n`,
  );
  const whole = await call("clone", { url: `${url}/my%20app.git` });
  expect(whole).toMatchObject({ code: 0, stderr: "" });
  expect(JSON.parse(whole.stdout)).toEqual({
    directory: join(directory, "my-app"),
    branch: "main",
    commit: git("rev-parse", "HEAD"),
  });
  expect(readdirSync(join(directory, "my-app")).sort()).toEqual([
    ".git",
    ".gitignore",
    ".gitmodules",
    "a.txt",
    "docs",
    "inner",
  ]);
  expect(readdirSync(join(directory, "my-app/inner"))).toEqual([]);
  const part = await call("clone", { url: `${url}/my%20app.git`, directory: "deep/part", depth: 1, branch: "v1" });
  expect(JSON.parse(part.stdout)).toEqual({
    directory: join(directory, "deep/part"),
    branch: null,
    commit: git("rev-parse", "v1"),
  });
  expect(git("-C", "deep/part", "rev-list", "--count", "HEAD")).toBe("1");
  expect(asked.filter((it) => it.includes("inner"))).toEqual([]);

  const again = await call("clone", { url: `${url}/my%20app.git` });
  expect(again).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/already exists and is not an empty directory/),
  });
  const missing = await call("clone", { url: `${url}/missing` });
  expect(missing).toMatchObject({ code: 1, stderr: expect.stringMatching(/there is no such repository\)\n$/) });
  const branch = await call("clone", { url: `${url}/my%20app.git`, directory: "b", branch: "nope" });
  expect(branch.stderr).toMatch(/Remote branch nope not found/);
  const secret = await call("clone", { url: `${url}/private/x.git` });
  expect(secret).toMatchObject({ code: 1, stderr: expect.stringMatching(/needs a password, which is not supported/) });
  expect(existsSync(join(directory, "home/ran"))).toBe(false);
});
