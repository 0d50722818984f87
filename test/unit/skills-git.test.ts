import { readdirSync, rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { type Given, repository, workspace } from "../support/git-repository.ts";

test("log lists commits, narrowed by number, author, date, path and beginning", async () => {
  const { call, git } = repository();
  git("tag", "v1", "HEAD~1");
  const subjects = async (given: Given) => {
    const { stdout, code } = await call("log", given);
    return [code, ...stdout.split("\n").map((it) => it.replace(/^.*>(?: \(.*\))?: /, ""))];
  };
  expect(await subjects({})).toEqual([0, "Second", "First: a and b", ""]);
  expect((await call("log", { count: 1 })).stdout).toMatch(
    /^[0-9a-f]{7,} \S+T\S+ Bob <bob@example\.org> \(HEAD -> main\): Second\n$/,
  );
  expect(await subjects({ author: "ADA@" })).toEqual([0, "First: a and b", ""]);
  expect(await subjects({ author: ".*" })).toEqual([0, "No commits match.", ""]);
  expect(await subjects({ since: "2 weeks ago", path: "docs" })).toEqual([0, "First: a and b", ""]);
  expect(await subjects({ path: "b.txt", directory: "docs" })).toEqual([0, "First: a and b", ""]);
  expect(await subjects({ ref: "v1" })).toEqual([0, "First: a and b", ""]);
});

test("diff, show and status say what git says", async () => {
  const { call, git, write } = repository();
  expect((await call("status")).stdout).toBe("## main\nNothing to commit: the working tree is clean.\n");
  expect((await call("diff")).stdout).toBe("No differences.\n");
  write("docs/b.txt", "changed\n");
  write("new.txt", "n\n");
  git("add", "docs");
  expect((await call("status")).stdout).toBe("## main\nM  docs/b.txt\n?? new.txt\n");
  expect((await call("diff")).stdout).toMatch(/-two\n\+changed$/m);
  expect((await call("diff", { path: "a.txt" })).stdout).toBe("No differences.\n");
  const between = (await call("diff", { from: "HEAD~1", to: "HEAD" })).stdout;
  expect(between).toContain("+more");
  expect(between).not.toContain("+changed");
  expect((await call("diff", { from: "HEAD~1", statOnly: true })).stdout).toMatch(
    /^ a\.txt .*\n docs\/b\.txt .*\n 2 files changed/,
  );
  const shown = (await call("show")).stdout;
  expect(shown).toMatch(
    /^commit [0-9a-f]{40} \(HEAD -> main\)\nAuthor: Bob <bob@example\.org>\nDate: {3}\S+\nCommit: Ada/,
  );
  expect(shown).toContain("+more");
  expect((await call("show", { ref: "HEAD~1", statOnly: true })).stdout).not.toContain("+one");
});

test("of a merge, show gives what it brought", async () => {
  const { call, git, write } = repository();
  git("switch", "--quiet", "--create", "side", "HEAD~1");
  write("side.txt", "from the side\n");
  git("add", "side.txt");
  git("commit", "--quiet", "--message=Side");
  git("switch", "--quiet", "main");
  git("merge", "--quiet", "--no-edit", "side");
  expect((await call("show")).stdout).toContain("+from the side");
});

test("commits what is named and nothing else, with new and deleted files, under the user's name", async () => {
  const { call, git, write, directory } = repository();
  write("docs/c.txt", "c\n");
  write("other.txt", "o\n");
  write("-n.txt", "dash\n");
  rmSync(join(directory, "docs/b.txt"));
  const ended = await call("commit", { message: "Docs\n\nAll of them: $(id) `id`", paths: ["docs", "-n.txt"] });
  expect(ended).toMatchObject({ code: 0, stderr: "" });
  expect(git("show", "--format=%an|%B", "--name-status")).toBe(
    "Ada Lovelace|Docs\n\nAll of them: $(id) `id`\n\n\nA\t-n.txt\nD\tdocs/b.txt\nA\tdocs/c.txt",
  );
  expect(git("status", "--porcelain")).toBe("?? other.txt");
  expect(await call("commit", { message: "x", paths: ["docs"] })).toMatchObject({
    code: 1,
    stderr: "git-repo: nothing to commit: these paths have no changes\n",
  });
});

test("commits in a new repository without a user, by a name that says what it is", async () => {
  const { call, git, write } = workspace();
  git("init", "--quiet", "--initial-branch=main");
  write("a.txt", "a\n");
  expect(await call("commit", { message: "Begin", paths: ["a.txt"] })).toMatchObject({ code: 0, stderr: "" });
  expect(git("log", "--format=%an <%ae>|%cn")).toBe("Glovebox agent <agent@glovebox.invalid>|Glovebox agent");
});

test("a new branch begins where it should, and is checked out unless it is to stay", async () => {
  const { call, git, write } = repository();
  write("docs/b.txt", "not committed\n");
  expect((await call("createBranch", { name: "feature/ü", from: "HEAD~1" })).stdout).toMatch(/checked out/);
  expect(git("branch", "--show-current")).toBe("feature/ü");
  expect(git("rev-parse", "HEAD")).toBe(git("rev-parse", "main~1"));
  expect(git("status", "--porcelain")).toBe("M docs/b.txt");
  expect((await call("createBranch", { name: "backup", stay: true })).code).toBe(0);
  expect(git("branch", "--show-current")).toBe("feature/ü");
  expect(await call("createBranch", { name: "backup" })).toMatchObject({
    code: 1,
    stderr: "git-repo: a branch named 'backup' already exists\n",
  });
});

test("an exported patch applies elsewhere", async () => {
  const { call, git, directory } = repository();
  git("config", "format.attach", "yes");
  git("config", "format.coverLetter", "true");
  git("config", "format.signatureFile", "/etc/hostname");
  git("config", "diff.noprefix", "true");
  const ended = await call("exportPatch");
  expect(ended).toMatchObject({ code: 0, stdout: `1 commit in ${directory}/changes.patch\n` });
  const [head, patch] = [git("rev-parse", "HEAD^{tree}"), join(directory, "changes.patch")];
  git("reset", "--quiet", "--hard", "HEAD~1");
  git("am", "--quiet", patch);
  expect(git("rev-parse", "HEAD^{tree}")).toBe(head);
  expect(git("log", "-1", "--format=%an")).toBe("Bob");
  expect(await call("exportPatch")).toMatchObject({
    code: 2,
    stderr: `git-repo: output: ${patch} exists; choose another name, or pass overwrite\n`,
  });
  expect((await call("exportPatch", { overwrite: true })).code).toBe(0);
  expect((await call("exportPatch", { from: "HEAD" })).stderr).toMatch(/no commits after 'HEAD'/);
});

test("long output is cut and says so", async () => {
  const { call, write } = repository();
  write("a.txt", "a long line of text\n".repeat(50_000));
  const { stdout, code } = await call("diff");
  expect(code).toBe(0);
  expect(stdout.length).toBeLessThan(201_000);
  expect(stdout).toMatch(/\n… cut after \d+ bytes: ask for less\n$/);
});

test.each<[string, Given, RegExp]>([
  ["log", { ref: "nope" }, /ref: there is no commit 'nope' here/],
  ["log", { ref: "HEAD..main" }, /ranges are two parameters/],
  ["show", { ref: "HEAD^{tree}" }, /ref|commit/],
  ["diff", { to: "HEAD" }, /to: needs from/],
  ["diff", { path: "/etc/passwd" }, /outside repository/],
  ["diff", { path: "../x" }, /outside repository/],
  ["commit", { message: "x", paths: ["missing"] }, /did not match any files/],
  ["commit", { message: "x", paths: [] }, /at least one/],
  ["commit", { message: "x", paths: [":(exclude)a.txt"] }, /did not match/],
  ["createBranch", { name: "a..b" }, /name/],
  ["createBranch", { name: "x.lock" }, /no name for a branch/],
  ["exportPatch", { output: "/nowhere/x.patch" }, /output: can't write/],
])("%s says in one line what is wrong with %j", async (name, given, message) => {
  const { call } = repository();
  const ended = await call(name, given);
  expect(ended.code === 1 || ended.code === 2).toBe(true);
  expect(ended.stderr).toMatch(/^git-repo: [^\n]+\n$/);
  expect(ended.stderr).toMatch(message);
});

test("outside a repository, and in one without commits, it says so", async () => {
  const { call, git } = workspace();
  expect((await call("status")).stderr).toMatch(/is in no git repository; clone one/);
  expect((await call("log")).stderr).toMatch(/is in no git repository; clone one/);
  git("init", "--quiet");
  expect((await call("log")).stderr).toMatch(/there is no commit 'HEAD' here/);
});

test("scripts leave nothing beside themselves", async () => {
  const { call } = repository();
  await call("status");
  const scripts = readdirSync(resolve(import.meta.dirname, "../../skills/git-repo/scripts")).sort();
  expect(scripts).toEqual(["clone.py", "guarded.py", "read.py", "typed.py", "write.py"]);
});
