import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type Given, repository } from "../support/git-repository.ts";

const INJECTIONS = [
  ["read.py", "log", "--ref=--output=pwned"],
  ["read.py", "log", "--ref", "--output=pwned"],
  ["read.py", "log", "--ref=-p"],
  ["read.py", "log", "--output=pwned"],
  ["read.py", "log", "--path=--output=pwned"],
  ["read.py", "log", "--since=--output=pwned"],
  ["read.py", "log", "--author=--output=pwned"],
  ["read.py", "log", "--", "--output=pwned"],
  ["read.py", "diff", "--from=--output=pwned"],
  ["read.py", "diff", "--from=HEAD", "--to=--output=pwned"],
  ["read.py", "diff", "--path=--output=pwned"],
  ["read.py", "diff", "--from=--no-index"],
  ["read.py", "show", "--ref=--output=pwned"],
  ["read.py", "show", "--ref=-O/etc/passwd"],
  ["read.py", "-c", "core.pager=touch pwned", "log"],
  ["write.py", "branch", "--name=-f"],
  ["write.py", "branch", "--name=--force"],
  ["write.py", "branch", "--name=x", "--from=--track"],
  ["write.py", "branch", "--name=@{-1}"],
  ["write.py", "patch", "--from=--output-directory=pwned", "--output=out.patch"],
  ["write.py", "patch", "--to=--output=pwned", "--output=out.patch"],
  ["write.py", "commit", "--message=x", '--paths=["--amend"]'],
  ["write.py", "commit", "--message=x", '--paths=["--pathspec-from-file=a.txt"]'],
  ["write.py", "commit", "--mess=x", '--paths=["a.txt"]'],
  ["clone.py", "--url=--upload-pack=touch pwned"],
  ["clone.py", "--url=ext::touch% pwned"],
  ["clone.py", "--url=ssh://-oProxyCommand=touch%20pwned/x"],
  ["clone.py", "--url=file:///tmp"],
  ["clone.py", "--url=/tmp"],
  ["clone.py", "--url=https://user:secret@example.org/x"],
  ["clone.py", "--url=http://127.0.0.1:1/x", "--branch=--upload-pack=touch pwned"],
  ["clone.py", "--url=http://127.0.0.1:1/x", "--depth=-1"],
  ["clone.py", "--url=http://127.0.0.1:1/x", "--config=core.fsmonitor=touch pwned"],
  ["clone.py", "--url=http://127.0.0.1:1/"],
];

test("no value becomes an option", async () => {
  const { script: run, directory, git } = repository();
  const before = git("for-each-ref");
  for (const [script = "", ...args] of INJECTIONS) {
    const ended = await run(script, ...args);
    const told = JSON.stringify({ script, args, ended });
    expect(readdirSync(directory).sort(), told).toEqual([".git", ".gitignore", "a.txt", "docs", "home"]);
    expect(git("for-each-ref"), told).toBe(before);
    // A path or a text that only looks like an option is a path or a text: nothing matches it.
    if (ended.code !== 0) expect(ended.stderr, told).toMatch(/^git-repo: [^\n]+\n$/);
    else expect(ended.stdout, told).toMatch(/^No (commits match|differences)\.\n$|^[0-9a-f]{7,} .*: Second\n/);
  }
});

/** Every way that a configuration has to name a program, each program leaving its name in `ran`. */
function hostile() {
  const made = repository();
  const { directory, git, write } = made;
  const trap = (name: string) => {
    write(
      `home/trap-${name}`,
      `#!/bin/sh\necho ${name} >> ${directory}/home/ran\ncat >/dev/null 2>&1 </dev/null\nexit 0\n`,
      0o755,
    );
    return join(directory, `home/trap-${name}`);
  };
  write(".gitattributes", "*.txt filter=evil diff=evil\n");
  git("add", ".gitattributes");
  git("commit", "--quiet", "--message=Attributes");
  // A signed commit, which log.showSignature verifies.
  const commit = git("cat-file", "commit", "HEAD");
  const signed = commit.replace(
    "\n\n",
    "\ngpgsig -----BEGIN PGP SIGNATURE-----\n \n x\n -----END PGP SIGNATURE-----\n\n",
  );
  write("home/signed", `${signed}\n`);
  git("update-ref", "HEAD", git("hash-object", "-t", "commit", "-w", join(directory, "home/signed")));
  for (const hook of [
    "pre-commit",
    "post-commit",
    "commit-msg",
    "post-checkout",
    "reference-transaction",
    "post-index-change",
  ]) {
    write(`.git/evil-hooks/${hook}`, readFileSync(trap(`hook-${hook}`), "utf8"), 0o755);
  }
  // A submodule with a configuration of its own.
  git("init", "--quiet", "inner");
  git("-C", "inner", "-c", "user.name=x", "-c", "user.email=x", "commit", "--quiet", "--allow-empty", "--message=x");
  git("-c", "advice.addEmbeddedRepo=false", "add", "inner");
  git("commit", "--quiet", "--message=Inner");
  git("-C", "inner", "config", "core.fsmonitor", trap("inner-fsmonitor"));
  const settings: Readonly<Record<string, string>> = {
    "core.fsmonitor": trap("fsmonitor"),
    "core.hooksPath": join(directory, ".git/evil-hooks"),
    "core.pager": trap("pager"),
    "core.editor": trap("editor"),
    "core.sshCommand": trap("ssh"),
    "filter.evil.clean": trap("clean"),
    "filter.evil.smudge": trap("smudge"),
    "filter.evil.required": "true",
    "filter.other=name.process": trap("process"),
    "diff.external": trap("external"),
    "diff.evil.command": trap("diff-command"),
    "diff.evil.textconv": trap("textconv"),
    "diff.submodule": "log",
    "gpg.program": trap("gpg"),
    "log.showSignature": "true",
    "commit.gpgSign": "true",
    "commit.verbose": "true",
    "credential.helper": trap("credential"),
    "status.submoduleSummary": "true",
    "gc.auto": "1",
    "gc.recentObjectsHook": trap("gc"),
    "protocol.allow": "always",
    "protocol.ext.allow": "always",
  };
  // Included, not stated in the repository's own file.
  for (const [name, value] of Object.entries(settings)) git("config", "--file", ".git/more", name, value);
  git("config", "include.path", "more");
  const ran = () =>
    existsSync(join(directory, "home/ran"))
      ? [...new Set(readFileSync(join(directory, "home/ran"), "utf8").split("\n"))].sort().filter(Boolean)
      : [];
  const forget = () => rmSync(join(directory, "home/ran"), { force: true });
  return { ...made, trap, ran, forget };
}

test("a hostile repository's programs are not run, though git alone would run them", async () => {
  const { call, git, write, ran, forget, directory } = hostile();
  const alone = (...args: string[]) => {
    try {
      git(...args);
    } catch {
      // Some of these programs fail git.
    }
  };
  write("a.txt", "changed again\n");
  alone("status");
  alone("diff");
  alone("-c", "diff.external=", "diff");
  alone("-c", "diff.external=", "-c", "diff.evil.command=", "log", "-p");
  alone("log");
  alone("commit", "--all", "--message=x");
  alone("switch", "--create", "y");
  // What the traps are worth.
  expect(ran()).toEqual(
    expect.arrayContaining([
      ...["fsmonitor", "inner-fsmonitor", "clean", "diff-command", "textconv", "gpg"],
      ...["hook-pre-commit", "hook-post-checkout", "hook-reference-transaction", "hook-post-index-change"],
    ]),
  );
  alone("switch", "main");
  git("-c", "core.hooksPath=/dev/null", "update-ref", "HEAD", git("rev-parse", "HEAD"));
  write("a.txt", "changed once more\n");
  forget();
  const calls: [string, Given][] = [
    ["status", {}],
    ["log", {}],
    ["log", { path: "a.txt" }],
    ["diff", {}],
    ["diff", { statOnly: true }],
    ["diff", { from: "HEAD~2" }],
    ["diff", { from: "HEAD~2", to: "HEAD" }],
    ["show", { ref: "HEAD~1" }],
    ["show", { ref: "HEAD~2", statOnly: true }],
    ["exportPatch", { from: "HEAD~2" }],
    ["commit", { message: "safe", paths: ["a.txt"] }],
    ["createBranch", { name: "back", from: "HEAD~3" }],
    ["createBranch", { name: "kept", stay: true }],
  ];
  const bad = [];
  for (const [name, given] of calls) {
    const ended = await call(name, given);
    if (ended.code !== 0 || ran().length > 0) bad.push({ name, given, ended, ran: ran() });
    if (name === "commit") expect(ended.stdout).toMatch(/Left out: the filters evil, other=name, which/);
    forget();
  }
  expect(bad).toEqual([]);
  // As it is, not as a filter would have it.
  git("-c", "core.hooksPath=/dev/null", "config", "--unset", "include.path");
  expect(git("show", "main:a.txt")).toBe("changed once more");
  expect(readFileSync(join(directory, "a.txt"), "utf8")).toBe("one\nmore\n");
});

test("what a hostile repository lacks is not fetched by its transports", async () => {
  const { call, git, directory, trap, ran, forget } = hostile();
  git("config", "--unset", "include.path");
  const blob = git("rev-parse", "HEAD:docs/b.txt");
  git("config", "core.repositoryFormatVersion", "1");
  git("config", "extensions.partialClone", "evil");
  git("config", "remote.evil.promisor", "true");
  git("config", "remote.evil.url", `ext::${trap("transport")}`);
  git("config", "protocol.ext.allow", "always");
  rmSync(join(directory, ".git/objects", blob.slice(0, 2), blob.slice(2)));
  expect(() => git("cat-file", "blob", blob)).toThrow();
  expect(ran()).toEqual(["transport"]);
  forget();
  const ended = await call("show", { ref: git("rev-list", "--max-parents=0", "HEAD") });
  expect(ended.code).toBe(1);
  expect(ran()).toEqual([]);
});

test("a configuration with more filters than fit is refused", async () => {
  const { call, write, directory } = repository();
  const names = Array.from({ length: 60_000 }, (_, index) => `[filter "n${index}"]\n\tclean = x\n`);
  write(".git/config", `${readFileSync(join(directory, ".git/config"), "utf8")}${names.join("")}`);
  expect(await call("status")).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/^git-repo: can't start git: .*\n$/),
  });
});
