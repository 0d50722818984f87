import { z } from "zod";
import { OUTCOMES } from "../policy/decision.ts";
import { LAYERS } from "../policy/layer.ts";
import { KEY_ID } from "./bodies/bodies.ts";
import { type AuditRecord, EVENTS, type Json, type RecordBody } from "./record.ts";

/** Its values come from `JSON.parse` or from `redact`, so they are JSON already. */
const json = z.custom<Json>((value) => value !== undefined);
const hash = z.string().regex(/^[0-9a-f]{64}$/);

const policies = z
  .array(
    z.strictObject({
      id: z.string(),
      effect: z.enum(["permit", "forbid"]),
      reason: z.string().exactOptional(),
      layer: z.enum(LAYERS).exactOptional(),
    }),
  )
  .readonly();
const identity = { name: z.string(), version: z.string(), digest: z.string() };

/** Redaction may have changed the state: whoever uses it reads it anew. */
const trace = z
  .strictObject({ traceparent: z.string().max(55), tracestate: z.string().max(1_024).exactOptional() })
  .readonly();

const keptBody = z
  .strictObject({
    keyId: z.string().regex(KEY_ID),
    bytes: z.int().min(0),
    sha256: hash,
    truncated: z.literal(true).exactOptional(),
  })
  .readonly();
const body = z.union([keptBody, z.strictObject({ lost: z.string() }).readonly()]);

const intent = z.strictObject({
  kind: z.literal("intent"),
  callId: z.string().min(1),
  principal: z.strictObject({
    id: z.string(),
    client: z.strictObject({ name: z.string(), version: z.string() }),
    transport: z.literal("stdio"),
  }),
  tool: z.string(),
  arguments: json,
  sessionId: z.string().exactOptional(),
  decision: z.enum(["permit", "deny", "ask", "invalid"]),
  policies,
  problems: z.array(z.string()).readonly(),
  bundle: z.strictObject({
    ...identity,
    layers: z
      .array(z.strictObject({ layer: z.enum(LAYERS), ...identity }))
      .readonly()
      .exactOptional(),
  }),
  shadow: z
    .array(z.strictObject({ would: z.enum(OUTCOMES), policies, problems: z.array(z.string()).readonly() }))
    .readonly()
    .exactOptional(),
  request: json.exactOptional(),
  trace: trace.exactOptional(),
  requestId: z.string().exactOptional(),
  bodies: z.strictObject({ arguments: body }).readonly().exactOptional(),
});

const outcome = z.strictObject({
  kind: z.literal("outcome"),
  callId: z.string().min(1),
  sessionId: z.string().exactOptional(),
  machineId: z.string().exactOptional(),
  trace: trace.exactOptional(),
  status: z.enum(["ok", "error", "interrupted"]),
  code: z.string().exactOptional(),
  durationMs: z.number(),
  facts: json,
  bodies: z.strictObject({ result: body }).readonly().exactOptional(),
});

const event = z.strictObject({
  kind: z.literal("event"),
  event: z.enum(EVENTS),
  sessionId: z.string().exactOptional(),
  callId: z.string().exactOptional(),
  facts: json,
});

/** What a body may be, to the last key: the writer refuses anything else, so that whatever is written verifies. */
export const bodySchema = z.discriminatedUnion("kind", [intent, outcome, event]);

export const recordSchema = z.strictObject({
  version: z.literal(1),
  chain: z.string().min(1),
  seq: z.int().min(0),
  // What no clock shows would be neither before nor after anything.
  time: z
    .string()
    .regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
    .refine((it) => !Number.isNaN(Date.parse(it)), "no moment"),
  gateway: z.string().min(1),
  prev: hash,
  body: bodySchema,
  hash,
});

// The schemas and the contract say the same, in both directions: a change of one that the other misses does not compile.
type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : never) : never;
true satisfies Same<z.infer<typeof bodySchema>, RecordBody>;
true satisfies Same<z.infer<typeof recordSchema>, AuditRecord>;
