import { randomUUID } from "node:crypto";
import { mkdir, open, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { GatewayError } from "../errors.ts";
import { codeOf, isMissing, messageOf } from "../lib/error.ts";
import { printable } from "../lib/text.ts";

const enrolmentSchema = z.strictObject({ name: z.string().min(1), since: z.iso.datetime() });
export type Enrolment = z.infer<typeof enrolmentSchema>;

/**
 * Who has enrolled this computer, as the data directory remembers it; `undefined` when nobody has. A mark that can't be understood counts as one.
 * @throws GatewayError ORGANISATION_POLICY when it can't be read
 */
export async function readEnrolment(dataDirectory: string): Promise<Enrolment | undefined> {
  const path = markOf(dataDirectory);
  try {
    return enrolmentSchema.parse(JSON.parse(await readFile(path, "utf8")));
  } catch (error) {
    if (isMissing(error)) return undefined;
    const code = codeOf(error);
    const why = code === undefined ? "is damaged" : `cannot be read (${code})`;
    const message = `the mark of this computer's enrolment, \`${printable(path)}\`, ${why}; as root: ${REMOVE}`;
    throw new GatewayError("ORGANISATION_POLICY", message, { cause: error });
  }
}

/**
 * An organisation that was there must not go away unnoticed.
 * @throws GatewayError ORGANISATION_POLICY
 */
export async function checkEnrolment(dataDirectory: string, organisation: string | undefined): Promise<void> {
  if (organisation !== undefined) return;
  const enrolled = await readEnrolment(dataDirectory);
  if (!enrolled) return;
  const { name, since } = enrolled;
  const message = `this computer is enrolled by ${printable(name)} since ${since}, but its policy is gone`;
  throw new GatewayError("ORGANISATION_POLICY", `${message}: put it back; an administrator who means it: ${REMOVE}`);
}

/** Of the organisation in force; the first time that it is seen here, the day is kept. */
export async function rememberEnrolment(dataDirectory: string, name: string, now: Date): Promise<void> {
  const known = await readEnrolment(dataDirectory);
  if (known?.name === name) return;
  const path = markOf(dataDirectory);
  try {
    await mkdir(join(dataDirectory, "policy"), { recursive: true, mode: 0o700 });
    const draft = `${path}.${randomUUID()}`;
    {
      await using file = await open(draft, "wx", 0o600);
      await file.writeFile(`${JSON.stringify({ name, since: now.toISOString() } satisfies Enrolment)}\n`);
      await file.sync();
    }
    await rename(draft, path);
  } catch (error) {
    const reason = messageOf(error);
    throw new GatewayError("STATE_UNWRITABLE", `cannot write \`${printable(path)}\`: ${reason}`, { cause: error });
  }
}

/** Whether there was a mark to remove. @throws Error of the file system */
export async function forgetEnrolment(dataDirectory: string): Promise<boolean> {
  try {
    await rm(markOf(dataDirectory));
    return true;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

const REMOVE = "glovebox policy unenrol";

function markOf(dataDirectory: string): string {
  return join(dataDirectory, "policy", "enrolment.json");
}
