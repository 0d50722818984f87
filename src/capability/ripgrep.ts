import { z } from "zod";
import { GatewayError } from "../errors.ts";

/** A line that matches, as the tool shows it. */
export interface Match {
  readonly path: string;
  readonly line: number;
  readonly text: string;
  /** The path's bytes are not UTF-8. */
  readonly inexact?: true;
}

const MAX_LINE_CHARS = 400;
/** How much of a long line is shown before its match. */
const LEAD_CHARS = 100;

/** Text, or base64 of bytes that are no UTF-8. */
const data = z.union([z.object({ text: z.string() }), z.object({ bytes: z.base64() })]);
const matchSchema = z.object({
  path: data,
  lines: data,
  line_number: z.int().min(1),
  /** Bytes of the line. */
  submatches: z.array(z.object({ start: z.int().min(0) })),
});

/**
 * One line of `rg --json`: a match, the summary that comes last, or nothing of interest.
 * @throws GatewayError CONTAINER_FAILED when it is none
 */
export function parseMessage(line: Buffer): Match | "summary" | undefined {
  try {
    const message = z.object({ type: z.string(), data: z.unknown() }).parse(JSON.parse(line.toString("utf8")));
    if (message.type === "summary") return "summary";
    return message.type === "match" ? matchOf(matchSchema.parse(message.data)) : undefined;
  } catch (cause) {
    throw new GatewayError("CONTAINER_FAILED", "the sandbox's rg gave an answer that can't be understood", { cause });
  }
}

function matchOf({ path, lines, line_number, submatches }: z.output<typeof matchSchema>): Match {
  const bytes = bytesOf(lines);
  const before = bytes.subarray(0, submatches[0]?.start ?? 0).toString("utf8").length;
  const line = bytes.toString("utf8").replace(/\r?\n$/, "");
  const from = line.length <= MAX_LINE_CHARS ? 0 : Math.max(0, before - LEAD_CHARS);
  const shown = line.slice(from, from + MAX_LINE_CHARS).toWellFormed();
  const text = `${from > 0 ? "…" : ""}${shown}${from + MAX_LINE_CHARS < line.length ? "…" : ""}`;
  const inexact = "bytes" in path ? ({ inexact: true } as const) : {};
  return { path: bytesOf(path).toString("utf8"), line: line_number, text, ...inexact };
}

function bytesOf(data: { text: string } | { bytes: string }): Buffer {
  return "text" in data ? Buffer.from(data.text) : Buffer.from(data.bytes, "base64");
}
