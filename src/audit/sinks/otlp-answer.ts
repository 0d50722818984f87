import { ProtobufLogsSerializer, ProtobufTraceSerializer } from "@opentelemetry/otlp-transformer";
import { z } from "zod";
import { printable } from "../../lib/text.ts";
import type { Posted } from "./otlp-post.ts";
import { DeliveryFailed, type SinkPorts } from "./sink.ts";

/** OpenTelemetry's word for a kind of data. */
export type Signal = "logs" | "traces";

/** JSON has 64-bit numbers as strings. Answers may have other keys besides. */
const count = z.union([z.int(), z.string().regex(/^-?\d{1,20}$/)]).optional();
const jsonAnswer = z.looseObject({
  partialSuccess: z
    .looseObject({ rejectedLogRecords: count, rejectedSpans: count, errorMessage: z.string().optional() })
    .nullish(),
});

interface Confirmation {
  readonly rejected: number;
  readonly message: string;
}

/**
 * @param hide takes secrets out of what the receiver says: it may send back what it was asked with. Before that is cut, or a part would stay
 * @throws DeliveryFailed unless the receiver says that it has taken all of it
 */
export function requireTaken(kind: Signal, host: string, posted: Posted, hide: SinkPorts["hide"]): void {
  const { status, headers } = posted;
  const fail = (what: string, cause?: unknown) => {
    const hint = kind === "traces" ? "; if it takes no traces, set `traces: false`" : "";
    const retryAfterMs = retryAfter(headers["retry-after"]);
    return new DeliveryFailed(`\`${host}\` ${what}${hint}`, {
      cause,
      ...(retryAfterMs !== undefined && { retryAfterMs }),
    });
  };
  if (status >= 300 && status < 400) {
    throw fail(`answered ${status} to ${kind}: redirects are not followed, so \`url\` must be the last address`);
  }
  if (status < 200 || status >= 300) throw fail(`answered ${status} to ${kind}${saidOf(posted, hide)}`);
  if (posted.body.length === 0) return;
  const type = headers["content-type"]?.split(";")[0]?.trim() ?? "";
  const read = READERS.get(type.toLowerCase());
  if (!read) {
    throw fail(
      `did not confirm the ${kind}, but answered with \`${printable(hide(type), 60)}\`: is \`url\` an OTLP receiver's?`,
    );
  }
  let confirmation: Confirmation;
  try {
    confirmation = read(kind, posted.body);
  } catch (error) {
    throw fail(`did not confirm the ${kind}: its answer can't be read`, error);
  }
  const { rejected, message } = confirmation;
  // By the standard, it is not sent again then. It is: nothing that is on record may be missing without anybody's notice.
  if (rejected !== 0) throw fail(`refused ${rejected} of the ${kind}: ${printable(hide(message), 300)}`);
}

const READERS: ReadonlyMap<string, (kind: Signal, body: Buffer) => Confirmation> = new Map([
  [
    "application/x-protobuf",
    (kind: Signal, body: Buffer) => {
      if (kind === "logs") {
        const { partialSuccess } = ProtobufLogsSerializer.deserializeResponse(body);
        return { rejected: partialSuccess?.rejectedLogRecords ?? 0, message: partialSuccess?.errorMessage ?? "" };
      }
      const { partialSuccess } = ProtobufTraceSerializer.deserializeResponse(body);
      return { rejected: partialSuccess?.rejectedSpans ?? 0, message: partialSuccess?.errorMessage ?? "" };
    },
  ],
  [
    "application/json",
    (kind: Signal, body: Buffer) => {
      const { partialSuccess } = jsonAnswer.parse(JSON.parse(body.toString("utf8")));
      const rejected = kind === "logs" ? partialSuccess?.rejectedLogRecords : partialSuccess?.rejectedSpans;
      return { rejected: Number(rejected ?? 0), message: partialSuccess?.errorMessage ?? "" };
    },
  ],
]);

/** What a receiver says for people. */
function saidOf({ headers, body }: Posted, hide: SinkPorts["hide"]): string {
  const isText = /^(?:text\/plain|application\/json)\b/i.test(headers["content-type"] ?? "");
  return isText && body.length > 0 ? `: ${printable(hide(body.toString("utf8")).trim(), 300)}` : "";
}

/** In ms: seconds, or a date (RFC 9110, 10.2.3). How long it is kept to is for whoever delivers. */
function retryAfter(value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const waitMs = /^\d{1,10}$/.test(value) ? Number(value) * 1_000 : Date.parse(value) - Date.now();
  return Number.isNaN(waitMs) ? undefined : Math.max(waitMs, 0);
}
