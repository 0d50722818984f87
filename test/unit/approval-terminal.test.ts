import { spawnSync } from "node:child_process";
import {
  chmodSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type WrittenAnswer, writeAnswer } from "../../src/approval/answer-file.ts";
import type { Question } from "../../src/approval/approval.ts";
import { answerPath, questionPath } from "../../src/approval/approval-files.ts";
import { nameOfUid } from "../../src/approval/owner.ts";
import { readQuestions, sweep } from "../../src/approval/question-file.ts";
import { createTerminal, type TerminalPorts } from "../../src/approval/terminal.ts";
import type { EventBody, RecordBody } from "../../src/audit/record.ts";
import { userName } from "../../src/lib/user.ts";
import { createLog } from "../../src/log.ts";
import { askedFor, testDesk } from "../support/approval.ts";
import { scratch } from "../support/audit.ts";
import { atTerminal, hasPty } from "../support/pty.ts";

const ENTRY = join(import.meta.dirname, "..", "..", "bin", "glovebox.js");
const ME = `local:${userName()}`;
const isRoot = process.getuid?.() === 0;
/** A user that every system has, and this is not. */
const NOBODY = 65_534;

const push = () => askedFor("exec", { argv: ["git", "push", "or\u202eigin"] });

async function terminalDesk(ports: Partial<TerminalPorts> = {}) {
  const data = scratch();
  const directory = join(data, "state", "approvals");
  const refused: EventBody[] = [];
  const audit = {
    append: async (body: RecordBody) => {
      if (body.kind === "event") refused.push(body);
    },
  };
  const terminal = await createTerminal({ directory, audit, log: createLog("silent"), ...ports });
  const desk = await testDesk([terminal], { nowMs: Date.now });
  const asked = async (): Promise<Question> => {
    const read = () => readQuestions(directory, Date.now());
    await expect.poll(read, { interval: 10 }).toHaveLength(1);
    const [pending] = await read();
    if (!pending) throw new Error("nothing is asked");
    return pending.question;
  };
  const problems = () => refused.map(({ facts }) => (facts as { problem: string }).problem);
  return { data, directory, desk, asked, problems, refused };
}

function yes({ id: questionId, digest }: Question): WrittenAnswer {
  return { questionId, digest, verdict: "allow", scope: "call" };
}

function text(question: Question, changes: Record<string, unknown> = {}): string {
  return JSON.stringify({ version: 1, ...yes(question), ...changes });
}

test("a question is a file of the gateway's user alone, and goes with its answer, whose owner is the approver", async () => {
  const { directory, desk, asked } = await terminalDesk();
  const approval = desk.ask(push());
  const question = await asked();
  expect(statSync(directory).mode & 0o777).toBe(0o700);
  expect(statSync(questionPath(directory, question.id)).mode & 0o777).toBe(0o600);
  await writeAnswer(directory, yes(question));
  expect(await approval).toEqual({ approved: true, approvalId: question.id, approver: ME, channel: "terminal" });
  expect(readdirSync(directory)).toEqual([]);
  await expect(writeAnswer(directory, yes(question))).rejects.toMatchObject({ code: "APPROVAL_NOT_FOUND" });
  expect(readdirSync(directory)).toEqual([]);
});

test("a question that is over is gone", async () => {
  const { directory, desk, asked } = await terminalDesk();
  const stop = new AbortController();
  const approval = desk.ask(push(), stop.signal);
  await asked();
  stop.abort();
  expect(await approval).toMatchObject({ why: "cancelled" });
  await expect.poll(() => readdirSync(directory)).toEqual([]);
});

type Plant = (path: string, question: Question, elsewhere: string) => void;

test.each<[string, Plant, string]>([
  [
    "a symbolic link",
    (path, question, elsewhere) => {
      writeFileSync(elsewhere, text(question));
      symlinkSync(elsewhere, path);
    },
    "it is a symbolic link",
  ],
  ["a directory", (path) => mkdirSync(path), "it is no regular file"],
  ["a pipe", (path) => void spawnSync("mkfifo", [path]), "it is no regular file"],
  [
    "too large",
    (path, question) => writeFileSync(path, text(question, { comment: "x".repeat(20_000) }), { mode: 0o600 }),
    "it is too large",
  ],
  [
    "half-written",
    (path, question) => writeFileSync(path, text(question).slice(0, 50), { mode: 0o600 }),
    "it is no answer",
  ],
  [
    "more than an answer",
    (path, question) => writeFileSync(path, text(question, { approver: "local:root" }), { mode: 0o600 }),
    "it is no answer",
  ],
  [
    "writable for others",
    (path, question) => {
      writeFileSync(path, text(question));
      chmodSync(path, 0o666);
    },
    "others may write to it",
  ],
])("an answer that is %s does not count, and there can be another", async (_what, plant, problem) => {
  const { data, directory, desk, asked, problems } = await terminalDesk();
  const approval = desk.ask(push());
  const question = await asked();
  const path = answerPath(directory, question.id);
  plant(path, question, join(data, "elsewhere"));
  await expect.poll(() => existsSync(path)).toBe(false);
  expect(problems()).toEqual([problem]);
  await writeAnswer(directory, { ...yes(question), verdict: "deny" });
  expect(await approval).toMatchObject({ why: "denied" });
});

test("an answer that has another name is not taken as long as it has: it is being written, or not the answerer's doing", async () => {
  const { data, directory, desk, asked, problems } = await terminalDesk();
  const approval = desk.ask(push());
  const question = await asked();
  const elsewhere = join(data, "elsewhere");
  writeFileSync(elsewhere, text(question), { mode: 0o600 });
  linkSync(elsewhere, answerPath(directory, question.id));
  // Longer than the gateway takes to look.
  const first = await Promise.race([approval, new Promise((resolve) => setTimeout(resolve, 1_200, "waits"))]);
  expect([first, problems()]).toEqual(["waits", []]);
  await expect(writeAnswer(directory, yes(question))).rejects.toMatchObject({
    message: expect.stringContaining("somebody else"),
  });
  desk.forget("ses-1");
  expect(await approval).toMatchObject({ why: "cancelled" });
  await expect.poll(() => readdirSync(directory)).toEqual([]);
});

test.skipIf(!isRoot)("an answer of another user does not count", async () => {
  const { directory, desk, asked, problems, refused } = await terminalDesk();
  const approval = desk.ask(push());
  const question = await asked();
  await writeAnswer(directory, yes(question), { uid: NOBODY });
  await expect.poll(problems).toEqual(["its owner is no approver"]);
  expect(refused[0]).toMatchObject({
    event: "approval-refused",
    callId: "call-1",
    facts: {
      approvalId: question.id,
      approver: `local:${await nameOfUid(NOBODY)}`,
      channel: "terminal",
      why: "invalid",
    },
  });
  await writeAnswer(directory, yes(question));
  expect(await approval).toMatchObject({ approved: true, approver: ME });
});

test.skipIf(!isRoot)(
  "where there are approvers they alone may answer, and the gateway's own user may not",
  async () => {
    const approver = await nameOfUid(NOBODY);
    const { data, directory, desk, asked, problems } = await terminalDesk({ approvers: [approver] });
    const approval = desk.ask(push());
    const question = await asked();
    expect(await readQuestions(directory, Date.now())).toMatchObject([{ approvers: [approver] }]);
    await writeAnswer(directory, yes(question));
    await expect.poll(problems).toEqual(["its owner is no approver"]);
    await using other = atTerminal([process.execPath, ENTRY, "approve", "--data-dir", data], env());
    await other.see(new RegExp(`NOT_AN_APPROVER.*only ${approver} may answer this`));
    expect(await other.ended).toBe(1);
    // As `sudo` says who called it.
    await using person = atTerminal([process.execPath, ENTRY, "approve", "--allow", "--data-dir", data], {
      ...env(),
      SUDO_UID: `${NOBODY}`,
    });
    const [, code = ""] = await person.see(/Type (\w{4}) to allow once: /);
    person.type(code);
    expect(await approval).toMatchObject({ approved: true, approver: `local:${approver}` });
    expect(await person.ended).toBe(0);
  },
);

test("an answer to something else than was asked does not count", async () => {
  const { directory, desk, asked } = await terminalDesk();
  const approval = desk.ask(push());
  const question = await asked();
  await writeAnswer(directory, { ...yes(question), digest: "0".repeat(64) });
  await expect.poll(() => desk.story()).toContainEqual(expect.stringContaining("the digest differs"));
  // It is asked again.
  const again = await asked();
  expect(again).toEqual(question);
  await writeAnswer(directory, yes(again));
  expect(await approval).toMatchObject({ approved: true });
});

test("what was altered is not shown, and neither is what nobody waits for; what is left behind is removed", async () => {
  const { directory, desk, asked } = await terminalDesk();
  const stop = new AbortController();
  const approval = desk.ask(push(), stop.signal);
  const question = await asked();
  const file = JSON.parse(readFileSync(questionPath(directory, question.id), "utf8"));
  const put = (id: string, changes: object, age = 0) => {
    const path = questionPath(directory, id);
    writeFileSync(path, JSON.stringify({ ...file, ...changes }), { mode: 0o600 });
    const at = Date.now() / 1_000 - age;
    utimesSync(path, at, at);
  };
  const altered = `apr_${"1".repeat(32)}`;
  put(altered, { question: { ...question, id: altered } });
  const dead = spawnSync("true").pid;
  const orphan = `apr_${"2".repeat(32)}`;
  put(orphan, { pid: dead, question: { ...question, id: orphan } });
  symlinkSync("/dev/zero", questionPath(directory, `apr_${"3".repeat(32)}`));
  writeFileSync(join(directory, ".unborn"), "");
  utimesSync(join(directory, ".unborn"), 1, 1);
  expect((await readQuestions(directory, Date.now())).map((it) => it.question)).toEqual([question]);
  expect(await readQuestions(directory, Date.parse(question.expiresAt))).toEqual([]);
  await sweep(directory, Date.now());
  expect(readdirSync(directory).toSorted()).toEqual([`${altered}.json`, `${question.id}.json`].toSorted());
  stop.abort();
  await approval;
  await sweep(directory, Date.now() + 700_000);
  await expect.poll(() => readdirSync(directory)).toEqual([]);
});

test("a directory that others may write to is not used", async () => {
  const { directory, desk } = await terminalDesk();
  mkdirSync(directory, { recursive: true });
  chmodSync(directory, 0o777);
  expect(await desk.ask(push())).toMatchObject({ why: "unreachable" });
});

test("programs see what waits, and can't answer", async () => {
  const { data, desk, asked } = await terminalDesk();
  const stop = new AbortController();
  const approval = desk.ask(push(), stop.signal);
  const question = await asked();
  const run = (...args: string[]) =>
    spawnSync(process.execPath, [ENTRY, "approve", ...args, "--data-dir", data], {
      encoding: "utf8",
      env: env(),
      input: "a\n",
    });
  expect(JSON.parse(run("--json").stdout)).toEqual([{ question }]);
  const refused = run(question.id, "--allow");
  expect([refused.status, refused.stdout, refused.stderr]).toEqual([1, "", expect.stringContaining("TERMINAL_NEEDED")]);
  stop.abort();
  expect(await approval).toMatchObject({ why: "cancelled" });
});

test.skipIf(!hasPty)("a person sees exactly what would run, and answers by typing the code", async () => {
  const { data, desk, asked } = await terminalDesk();
  await using person = atTerminal(
    [process.execPath, ENTRY, "approve", "--watch", "--comment", "fine", "--data-dir", data],
    env(),
  );
  await person.see(/waiting for questions/);
  const choose = async (letter: string, type: (code: string) => string) => {
    await person.see(/\[l\] later: /);
    person.type(letter);
    const [, code = ""] = await person.see(/Type (\w{4}) to [a-z ]+: /);
    person.type(type(code));
  };
  const first = desk.ask(push());
  const question = await asked();
  await person.see(new RegExp(question.id));
  await person.see(/command: git push 'or\\u\{202e\}igin'/);
  await person.see(/Allowing it for the session also allows: git push with any further arguments/);
  await choose("s", (code) => code);
  await person.see(/answered: allow for the session/);
  expect(await first).toMatchObject({ approved: true, approver: ME, channel: "terminal" });
  expect(await desk.ask(push())).toMatchObject({ channel: "grant" });
  expect(desk.events()[1]?.facts).toMatchObject({ comment: "fine", scope: "session" });

  const second = desk.ask(askedFor("exec", { argv: ["make"] }));
  await choose("d", (code) => code);
  await person.see(/answered: deny/);
  expect(await second).toMatchObject({ why: "denied", text: expect.stringContaining("fine") });

  const stop = new AbortController();
  const third = desk.ask(askedFor("exec", { argv: ["make", "x"] }), stop.signal);
  await choose("a", () => "yes");
  await person.see(/not confirmed: nothing was answered/);
  stop.abort();
  expect(await third).toMatchObject({ why: "cancelled" });
});

function env(): NodeJS.ProcessEnv {
  const { SUDO_UID: _, ...others } = process.env;
  return { ...others, NO_COLOR: "1" };
}
