import { MAX_STATE_CHARS } from "../lib/trace-context.ts";
import { type FieldRules, fieldRules, isReserved, normalName } from "../policy/audit-fields.ts";
import { type CallKept, createCallMemory, STRUCK } from "./call-memory.ts";
import type { DigestKey } from "./digest-key.ts";
import { factsIn, textIn } from "./facts.ts";
import { withKeyedDigests } from "./keyed.ts";
import { type Names, namesWith } from "./names.ts";
import { type EventBody, type IntentBody, type Json, PROOF_EVENTS, type RecordBody } from "./record.ts";
import { type RedactOptions, redact } from "./redact.ts";
import type { Hide } from "./redact-text.ts";

/** What is kept out of a log, besides what every log leaves out. */
export interface Redaction {
  /** Of every text: replaces values that are known to be secret. */
  readonly hide?: Hide;
  /** Names of fields, by the policy in force: asked at each record. */
  readonly fields?: () => readonly string[] | undefined;
  /** Makes keyed digests of short contents. Without it, all digests are plain. */
  readonly key?: DigestKey;
}

/** Of one log. */
export interface Redactor {
  readonly key: DigestKey | undefined;
  /** The body as the log may keep it; not checked yet. Bodies are given in the order in which they are written. */
  redacted(body: RecordBody): RecordBody;
}

/** What the gateway itself says of itself, with digests of what is public: no rule of a policy reaches it, and none of its digests is of what a call had. */
const OF_THE_GATEWAY: ReadonlySet<EventBody["event"]> = new Set<EventBody["event"]>([
  ...(["gateway-started", "gateway-stopped", "session-opened", "session-hibernated", "session-woken"] as const),
  ...(["skill-refused", "package-admitted", "package-refused", "advisories-imported", "snapshot-deleted"] as const),
  ...(["session-inspected", "bodies-erased"] as const),
  ...(["logging-failed", "logging-recovered", "reconciled", "log-recovered", "segment-started"] as const),
  ...(["policy-loaded", "policy-rejected"] as const),
]);

/** Facts that are words, and no ids, hosts or numbers by which records are found. */
const WORDS: ReadonlySet<string> = new Set(["details", "message", "reason", "why"]);

/** What policy and approvers see of an argument under other names; normal names. */
const DERIVED: Readonly<Record<string, readonly string[]>> = {
  argv: ["argv0", "argvprefixes", "command"],
  script: ["programs", "subcommands", "commands"],
  content: ["sha256"],
  stdin: ["standardinput"],
  env: ["envnames", "environment"],
};

export function createRedactor({ hide, fields = () => undefined, key }: Redaction): Redactor {
  const plain: RedactOptions = { ...(hide && { hide }), ...(key && { key }) };
  const rulesNow = memoized(fields);
  const calls = createCallMemory();

  function clean(body: RecordBody): { readonly clean: RecordBody; readonly isRuled: boolean } {
    const rules = rulesNow();
    const isNone = rules.anywhere.size === 0 && rules.ofTools.size === 0;
    if (isNone || (body.kind === "event" && OF_THE_GATEWAY.has(body.event))) {
      calls.seen(body);
      return { clean: redactedAs(body, plain), isRuled: false };
    }
    if (body.kind === "intent") return cleanIntent(body, rules);
    const call = body.callId === undefined ? undefined : calls.of(body.callId);
    calls.seen(body);
    // Of a call that nobody knows here, as any tool's.
    const own = call || body.callId === undefined ? (rules.ofTools.get(call?.tool ?? "") ?? NONE) : ofAll(rules);
    const isRuled = own.size > 0 || call?.isRuled === true;
    const facts = cleanFacts(body.facts, { rules, own, call, isRuled });
    return { clean: { ...redactedAs({ ...body, facts: null }, plain), facts }, isRuled };
  }

  function cleanIntent(body: IntentBody, rules: Rules) {
    const own = new Set([...rules.anywhere, ...(rules.ofTools.get(body.tool) ?? NONE)]);
    const { request, ...rest } = body;
    const { arguments: args, problems } = body;
    const call = calls.begun(body, (name) => own.has(normalName(name)));
    const options = { ...plain, names: rules.names };
    const clean = {
      ...redactedAs({ ...rest, arguments: null, problems: [] }, plain),
      arguments: redact(struck(args, own), options),
      problems: redactedAs(problems, options).map((it) => redactedAs(call.without(it), plain)),
      ...(request !== undefined && {
        request: redact(struckRequest(request, call.isRuled ? new Set([...own, "within"]) : own), options),
      }),
    };
    return { clean, isRuled: call.isRuled };
  }

  function cleanFacts(facts: Json, { rules, own, call, isRuled }: Of): Json {
    const options = { ...plain, names: rules.names };
    if (typeof facts !== "object" || facts === null || Array.isArray(facts)) return redact(facts, options);
    const all = new Set([...rules.anywhere, ...own]);
    const members = Object.entries(facts).map(([name, value]): Json => {
      const normal = normalName(name);
      if (isReserved(normal) && !WORDS.has(name)) return redact({ [name]: value }, plain);
      // What would be let through for the session, in words: of what it is made, depends on the tool.
      if (all.has(normal) || (name === "pattern" && isRuled)) return { [name]: STRUCK };
      if (name === "details") return redact({ details: struckDetails(value, all, isRuled) }, options);
      const kept = redact({ [name]: value }, options);
      const message = WORDS.has(name) ? textIn(factsIn(kept), name) : undefined;
      return call && message !== undefined ? redact({ [name]: call.without(message) }, plain) : kept;
    });
    return Object.fromEntries(members.flatMap((it) => Object.entries(factsIn(it))));
  }

  return {
    key,
    redacted: (body) => {
      if (body.kind === "event" && PROOF_EVENTS.includes(body.event)) return body;
      const { clean: redacted, isRuled } = clean(body);
      const kept = withFittingState(redacted);
      const isPublic = body.kind === "event" && OF_THE_GATEWAY.has(body.event);
      return key && !isPublic ? withKeyedDigests(kept, key, isRuled) : kept;
    },
  };
}

const NONE: ReadonlySet<string> = new Set();
const NO_NAMES: readonly string[] = [];

interface Rules extends FieldRules {
  readonly names: Names;
}

interface Of {
  readonly rules: Rules;
  /** Of the tool whose call it is. */
  readonly own: ReadonlySet<string>;
  readonly call: CallKept | undefined;
  readonly isRuled: boolean;
}

/** Redaction can make a caller's trace state longer than a record's may be; without it the trace is still the caller's. */
function withFittingState(body: RecordBody): RecordBody {
  if (body.kind === "event" || (body.trace?.tracestate ?? "").length <= MAX_STATE_CHARS || !body.trace) return body;
  return { ...body, trace: { traceparent: body.trace.traceparent } };
}

/** In the same form, as whoever writes the body checks. */
function redactedAs<T>(value: T, options: RedactOptions): T {
  return redact(value, options) as unknown as T;
}

function ofAll({ ofTools }: FieldRules): ReadonlySet<string> {
  return new Set([...ofTools.values()].flatMap((it) => [...it]));
}

/** The rules of the names, made again when they are others. */
function memoized(fields: () => readonly string[] | undefined): () => Rules {
  let last: { readonly names: readonly string[]; readonly rules: Rules } | undefined;
  return () => {
    const names = fields() ?? NO_NAMES;
    if (last?.names === names) return last.rules;
    const rules = fieldRules(names);
    last = { names, rules: { ...rules, names: namesWith(rules.anywhere) } };
    return last.rules;
  };
}

/** The object without the values of members whose normal name is in the set. */
function struck(value: Json, names: ReadonlySet<string>, but?: string): Json {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, it]) => [
      name,
      name !== but && it !== null && names.has(normalName(name)) ? STRUCK : it,
    ]),
  );
}

/** What policy saw of the arguments: as `recordedRequest` has it. */
function struckRequest(request: Json, own: ReadonlySet<string>): Json {
  if (typeof request !== "object" || request === null || Array.isArray(request)) return request;
  const { resource, context, ...rest } = factsIn(request);
  return {
    ...rest,
    ...("argv" in rest && own.has("argv") && { argv: STRUCK }),
    ...(resource !== undefined && { resource: struck(resource, own, "type") }),
    ...(context !== undefined && { context: struck(context, withDerived(own)) }),
  };
}

/** An approver sees arguments as lines: `argument customerId`, `edit 1, by`. */
function struckDetails(details: Json, own: ReadonlySet<string>, isRuled: boolean): Json {
  if (!Array.isArray(details)) return details;
  // What a skill runs is made of its arguments, spelt in ways of its own.
  const names = withDerived(isRuled ? new Set([...own, "runs"]) : own);
  return details.map((it: Json) => {
    const label = textIn(factsIn(it), "label") ?? "";
    const isMeant =
      names.has(normalName(label.replace(/^argument /, ""))) || (names.has("edits") && /^edit \d/.test(label));
    return isMeant ? { ...factsIn(it), text: STRUCK } : it;
  });
}

function withDerived(own: ReadonlySet<string>): ReadonlySet<string> {
  return new Set([...own].flatMap((it) => [it, ...(DERIVED[it] ?? [])]));
}
