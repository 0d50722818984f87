import { join } from "node:path";
import type { Command } from "commander";
import pc from "picocolors";
import { GatewayError } from "../errors.ts";
import { printable } from "../lib/text.ts";
import { problemText } from "../policy/bundle.ts";
import { readPrivateKey } from "../policy/distribution/keys.ts";
import { replaceFile } from "../policy/distribution/place.ts";
import { readSkills } from "../skill/load.ts";
import { LOCK_FILE, type Lock, lockOf, lockText, MAX_LOCK_BYTES, readLock } from "../skill/lock.ts";
import { LOCK_SIGNATURE_FILE, readSigners, signLockIn } from "../skill/sign.ts";
import { answer } from "./policy-answer.ts";
import type { SkillContext } from "./skill-context.ts";
import { checkFolder, isSkillFolder, noSkills, problemsOf, within } from "./skill-folders.ts";

interface Options {
  readonly key?: string;
  readonly json?: boolean;
}

/** `glovebox skill lock`: pins skills as they are, and vouches for them. */
export function addLock(command: Command, context: SkillContext): void {
  command
    .command("lock")
    .argument("[directory]", "folder of the skills", ".")
    .option("--key <file>", "sign the lock with this private key, too")
    .option("--json", "print what was locked as JSON")
    .description(
      `write name, version and digest of every skill into ${LOCK_FILE}, beside them; signed, if a key is given`,
    )
    .addHelpText(
      "after",
      `
What differs from its line in the lock is not loaded. Look at what changed first: \`glovebox skill check\`. A pair of keys is made with
\`glovebox policy keygen\`; policy names the public one by its fingerprint. Signatures of other keys over the same lock stay.
Exit codes: 0 locked, 1 a skill is not valid and nothing was written, 2 the question could not be answered.

Examples:
  $ glovebox skill lock skills
  $ glovebox skill lock skills --key acme-skills.key`,
    )
    .action((directory: string, options: Options) => answer(() => lock(directory, options, context)));
}

async function lock(directory: string, { key, json }: Options, { toolNames }: SkillContext): Promise<boolean> {
  const signer = key === undefined ? undefined : await readPrivateKey(key);
  await checkFolder(directory);
  if (await isSkillFolder(directory)) {
    const message = `\`${printable(directory)}\` is a skill: name the folder that it lies in, with all skills that are locked together`;
    throw new GatewayError("INVALID_ARGUMENTS", message);
  }
  const { skills, refused } = await readSkills([directory], toolNames);
  if (skills.length + refused.length === 0) noSkills([directory]);
  if (refused.length > 0) {
    const problems = problemsOf(refused);
    if (json) console.log(JSON.stringify({ locked: false, problems }, null, 2));
    else for (const problem of problems) console.log(printable(problemText(problem)));
    return false;
  }
  const before = await readLock(directory);
  const next = lockOf(skills);
  const bytes = Buffer.from(lockText(next));
  if (bytes.length > MAX_LOCK_BYTES) {
    throw new GatewayError(
      "INVALID_ARGUMENTS",
      `these are more skills than one lock holds: put them into several folders`,
    );
  }
  const changes = changesOf(before && "lock" in before ? before.lock : [], next);
  await replaceFile(directory, LOCK_FILE, bytes.toString());
  if (signer) await replaceFile(directory, LOCK_SIGNATURE_FILE, await signLockIn(directory, bytes, signer));
  const { signedBy, problems: ofSignature } = await readSigners(directory, bytes);
  if (json) {
    console.log(JSON.stringify({ locked: true, skills: next, changes, signedBy }, null, 2));
    return true;
  }
  const colour = pc.createColors(process.stdout.isTTY === true);
  for (const it of changes) console.log(changeText(it));
  console.log(
    `${printable(join(directory, LOCK_FILE))}: ${next.length === 1 ? "1 skill" : `${next.length} skills`} locked`,
  );
  for (const id of signedBy) console.log(colour.dim(`signed by ${id}`));
  for (const it of ofSignature) console.log(colour.yellow(printable(problemText(within(directory, it)))));
  return true;
}

interface Change {
  readonly name: string;
  readonly from?: string;
  readonly to?: string;
}

/** In the order of names; what stays the same is none. */
function changesOf(before: Lock, next: Lock): readonly Change[] {
  const was = new Map(before.map((it) => [it.name, it]));
  const is = new Map(next.map((it) => [it.name, it]));
  return [...new Set([...was.keys(), ...is.keys()])]
    .toSorted()
    .filter((name) => was.get(name)?.digest !== is.get(name)?.digest)
    .map((name) => {
      const [from, to] = [was.get(name)?.version, is.get(name)?.version];
      return { name, ...(from !== undefined && { from }), ...(to !== undefined && { to }) };
    });
}

function changeText({ name, from, to }: Change): string {
  if (from === undefined) return `+ ${name} ${to}`;
  if (to === undefined) return `- ${name} ${from}`;
  return `~ ${name} ${from === to ? `${to}, with other contents under the same version` : `${from} -> ${to}`}`;
}
