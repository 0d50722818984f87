import { z } from "zod";
import type { CallContext, Outcome, Picture } from "../capability/capability.ts";
import { sha256 } from "../capability/fields.ts";
import { imageType } from "../capability/image-type.ts";
import { oneLine, present } from "../capability/render.ts";
import { headline, refusalTexts, stateOf, streams } from "../capability/run.ts";
import { GatewayError } from "../errors.ts";
import type { Session } from "../session/session.ts";
import { jsonAnswer } from "./json-answer.ts";
import type { Values } from "./parameters.ts";
import type { Place } from "./place.ts";
import type { OutputShape, SkillCapability, Template } from "./skill.ts";
import type { Ran } from "./steps.ts";
import { fill } from "./template.ts";

const MAX_PICTURE_BYTES = 4 * 1_048_576;
const MAX_PATH_CHARS = 4_096;
const MAX_FILE_BYTES = 64 * 1_048_576;
/** Of the error output of a step that succeeded: what it says there is seldom of use. */
const MAX_ASIDE_BYTES = 2_048;

/** Short: each tool of a skill has it, and every conversation pays for that. */
export const skillResult = z.strictObject({
  ok: z.boolean().describe("Whether every step succeeded."),
  failedStep: z.number().optional(),
  exitCode: z.number().optional(),
  endedBy: z.string().optional(),
  durationMs: z.number(),
  text: z.string().describe("What the last step printed."),
  json: z.unknown().optional(),
  files: z.array(z.looseObject({ path: z.string() })).optional(),
  errors: z.string().optional(),
  truncated: z.boolean(),
  blocked: z.array(z.string()).optional(),
});

interface Made {
  readonly json?: unknown;
  readonly files?: readonly { readonly path: string; readonly bytes: number; readonly sha256: string }[];
  readonly pictures?: readonly Picture[];
}

/** @throws GatewayError SKILL_FAILED when the steps succeeded and what they promise is not there */
export async function outcomeOf(
  { output }: Pick<SkillCapability, "output">,
  { process, failed }: Ran,
  ran: { place: Place; values: Values; session: Session; mark: number; context: CallContext },
): Promise<Outcome<z.output<typeof skillResult>>> {
  const { maxBytes } = ran.context.profile.output;
  const stdout = process?.stdout.excerpt(maxBytes);
  const stderr = process?.stderr.excerpt(failed === undefined ? MAX_ASIDE_BYTES : maxBytes);
  const blocked = refusalTexts(ran.session.egress.refusalsSince(ran.mark));
  const truncated = (stdout?.cutBytes ?? 0) > 0;
  const text = stdout?.text ?? "";
  const made = failed === undefined ? await madeOf(output, { text, truncated }, ran) : {};
  const { json, files, pictures = [] } = made;
  const end = process?.end;
  const result = present({
    ok: failed === undefined,
    failedStep: failed,
    exitCode: end?.exitCode,
    endedBy: end?.endedBy,
    durationMs: process?.durationMs ?? 0,
    text,
    json,
    files: files && [...files],
    errors: stderr?.text === "" ? undefined : stderr?.text,
    truncated,
    blocked: blocked.length > 0 ? [...blocked] : undefined,
  });
  const lines = [
    ...(failed === undefined || !process ? [] : [`step ${failed} failed: ${headline(stateOf(process))}`]),
    ...streams(text, failed === undefined ? "" : (stderr?.text ?? "")),
    ...(files ?? []).map((it) => `${oneLine(it.path, MAX_PATH_CHARS)} (${it.bytes} bytes)`),
    ...blocked,
  ];
  const { text: _, json: __, errors: ___, ...facts } = result;
  return { result, text: lines.length > 0 ? lines.join("\n") : "done", pictures, facts };
}

async function madeOf(
  output: OutputShape,
  { text, truncated }: { readonly text: string; readonly truncated: boolean },
  ran: { place: Place; values: Values; session: Session; context: CallContext },
): Promise<Made> {
  const pathOf = (template: Template) => fill(template, ran.values, { skill: ran.place.directory });
  switch (output.kind) {
    case "text":
      return {};
    case "json":
      return { json: truncated ? undefined : jsonAnswer(text) };
    case "image": {
      const path = pathOf(output.path);
      const content = await read(path, MAX_PICTURE_BYTES, ran);
      const mimeType = imageType(content);
      if (mimeType === undefined) throw new GatewayError("SKILL_FAILED", `\`${oneLine(path)}\` is no picture`);
      return { files: [fileOf(path, content)], pictures: [{ mimeType, base64: content.toString("base64") }] };
    }
    case "files": {
      const files = [];
      for (const template of output.paths) {
        const path = pathOf(template);
        files.push(fileOf(path, await read(path, MAX_FILE_BYTES, ran)));
      }
      return { files };
    }
  }
}

function fileOf(path: string, content: Buffer) {
  return { path, bytes: content.length, sha256: sha256(content) };
}

async function read(path: string, maxBytes: number, { session, context }: { session: Session; context: CallContext }) {
  try {
    return await session.container.readFile(path, maxBytes, context.signal);
  } catch (error) {
    if (!(error instanceof GatewayError) || error.code === "MACHINE_LOST") throw error;
    throw new GatewayError("SKILL_FAILED", `what it was to write can't be read: ${error.message}`, { cause: error });
  }
}
