import { z } from "zod";
import { visible, visibleLines } from "../lib/visible.ts";

/**
 * Text that a reviewer and a model read alike: what a person does not see (tags, zero-width characters, bidirectional overrides) would tell the
 * model what nobody has reviewed. Emoji are made of such characters, and are seen.
 */
const EMOJI = /\p{RGI_Emoji}/gv;

function isLegible(text: string, escaped: (text: string) => string): boolean {
  const rest = text.replace(EMOJI, "");
  return escaped(rest) === rest;
}

const HIDDEN = "holds characters that nobody sees: remove them";

/** One line, with something in it. */
export function line(maxChars: number) {
  return z
    .string()
    .max(maxChars)
    .refine((it) => it.trim() !== "", "must not be empty")
    .refine((it) => isLegible(it, visible), `must be one line, and ${HIDDEN}`);
}

/** Several lines, with something in them. */
export function lines(maxChars: number) {
  return z
    .string()
    .max(maxChars)
    .refine((it) => it.trim() !== "", "must not be empty")
    .refine((it) => isLegible(it, visibleLines), HIDDEN);
}

/** From 1; undefined when all lines are legible. */
export function illegibleLine(text: string): number | undefined {
  const index = text.split("\n").findIndex((it) => !isLegible(it, visibleLines));
  return index === -1 ? undefined : index + 1;
}
