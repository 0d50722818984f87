import { join } from "node:path";
import fc from "fast-check";
import { listChains } from "../../src/audit/files.ts";
import type { Filter } from "../../src/audit/index/filter.ts";
import { readChain } from "../../src/audit/read.ts";
import type { AuditRecord, EventBody, IntentBody, Json, OutcomeBody, RecordBody } from "../../src/audit/record.ts";

/** Records, and what a question of them has for an answer, without an index: by a look at each. Few values, so that questions hit. */

const CALLS = ["call-a", "call-b", "call-c", "call-d"];
const HOSTS = ["example.org", "a.example.org", "b.a.example.org", "192.0.2.7"];
const WORDS = [
  "curl",
  "Passwd",
  "etc",
  "'; DROP",
  '"quoted" OR NEAR(x)',
  "100%",
  "a\u0000b",
  "\u001b[31mred",
  "naïve",
  "x_y-z",
  "*",
];
const POLICIES = ["net.cedar#hosts", "run.cedar#exec"];
const PURLS = ["pkg:npm/left-pad@1.0.0", "pkg:npm/%40acme/x@2.0.0", "pkg:maven/com.acme/lib@3"];
const EVENT_NAMES = [
  "connection-opened",
  "connection-refused",
  "package-admitted",
  "process-ended",
  "approval-given",
] as const;

const words = fc.array(fc.constantFrom(...WORDS), { maxLength: 3 });
const optional = <T, K extends string>(key: K, value: fc.Arbitrary<T>) =>
  fc
    .option(value, { nil: undefined })
    .map((it) => (it === undefined ? {} : { [key]: it }) as { readonly [P in K]?: T });
const session = optional("sessionId", fc.constantFrom("ses-1", "ses-2"));

const intent: fc.Arbitrary<IntentBody> = fc
  .record({
    callId: fc.constantFrom(...CALLS),
    id: fc.constantFrom("local:ada", "local:bob"),
    name: fc.constantFrom("client-1", "client-2"),
    tool: fc.constantFrom("exec", "shell", "installPackage"),
    decision: fc.constantFrom("permit" as const, "deny" as const, "ask" as const, "invalid" as const),
    argv: words,
    session,
    url: optional(
      "url",
      fc.constantFrom(...HOSTS).map((it) => `https://u:p@${it}:8443/x?y`),
    ),
    policies: fc.subarray(POLICIES),
    layer: optional("layer", fc.constantFrom("organisation" as const, "user" as const)),
    request: optional(
      "request",
      fc.subarray(PURLS).map((packages) => ({ resource: { type: "session" }, context: { packages } })),
    ),
  })
  .map(({ callId, id, name, tool, decision, argv, session: of, url, policies, layer, request }) => ({
    kind: "intent",
    callId,
    principal: { id, client: { name, version: "1" }, transport: "stdio" },
    tool,
    arguments: { argv, ...url },
    ...of,
    decision,
    policies: policies.map((it) => ({ id: it, effect: "permit" as const, ...layer })),
    problems: [],
    bundle: { name: "b", version: "1", digest: "sha256:0" },
    ...request,
  }));

const outcome: fc.Arbitrary<OutcomeBody> = fc
  .record({
    callId: fc.constantFrom(...CALLS),
    session,
    status: fc.constantFrom("ok" as const, "error" as const, "interrupted" as const),
    code: optional("code", fc.constantFrom("TIMEOUT", "DENIED")),
    exit: optional("exitCode", fc.constantFrom(0, 1, 137)),
    message: words,
    packages: fc.subarray(PURLS),
  })
  .map(({ callId, session: of, status, code, exit, message, packages }) => ({
    kind: "outcome",
    callId,
    ...of,
    status,
    ...code,
    durationMs: 5,
    facts: { ...exit, message, packages },
  }));

const event: fc.Arbitrary<EventBody> = fc
  .record({
    name: fc.constantFrom(...EVENT_NAMES),
    session,
    call: optional("callId", fc.constantFrom(...CALLS)),
    facts: fc.record({ calls: fc.subarray(CALLS), policies: fc.subarray(POLICIES) }),
    host: optional("host", fc.constantFrom(...HOSTS)),
    purl: optional("purl", fc.constantFrom(...PURLS)),
    exit: optional("exitCode", fc.constantFrom(0, 137)),
    begunBy: optional("callId", fc.constantFrom(...CALLS)),
  })
  .map(({ name, session: of, call, facts, host, purl, exit, begunBy }) => ({
    kind: "event",
    event: name,
    ...of,
    ...call,
    facts: { ...facts, ...host, ...purl, ...exit, ...begunBy } as Json,
  }));

export const bodies: fc.Arbitrary<RecordBody[]> = fc.array(fc.oneof(intent, outcome, event), {
  minLength: 1,
  maxLength: 40,
});

const one = <T>(...values: T[]) => fc.option(fc.constantFrom(...values), { nil: undefined, freq: 2 });
/** Of each filter now and then a value; two in ten are of nothing in the log. */
export const filters: fc.Arbitrary<Filter> = fc
  .record({
    principal: one("local:ada", "local:nobody"),
    client: one("client-1"),
    gateway: one("gw-1", "gw-2", "gw-9"),
    session: one("ses-1", "ses-9"),
    call: one(...CALLS),
    tool: one("exec", "shell", "' OR 1=1 --"),
    decision: one("permit", "deny", "ask", "invalid"),
    status: one("ok", "error", "interrupted"),
    code: one("TIMEOUT"),
    exitCode: one(0, 137, 9),
    event: one(...EVENT_NAMES),
    kind: one("intent" as const, "outcome" as const, "event" as const),
    policy: one("net.cedar#hosts", "organisation:net.cedar#hosts", "user:run.cedar#exec"),
    host: one("example.org", "*.example.org", "*.a.example.org", "192.0.2.7", "B.A.Example.ORG"),
    package: one(
      "pkg:npm/left-pad@1.0.0",
      "pkg:npm/left-pad",
      "npm:left-pad",
      "@acme/x",
      "com.acme:lib",
      "pkg:npm/none",
    ),
    text: one(
      ["curl"],
      ["PASSWD"],
      ["etc", "curl"],
      ['"quoted" OR NEAR(x)'],
      ["drop"],
      ["red"],
      ["naive"],
      ["x_y"],
      ["pass*"],
      ["local:ada"],
      ["curl etc"],
    ),
  })
  // A question with everything has no answer: three filters at most are kept.
  .chain((all) => fc.shuffledSubarray(Object.keys(all), { maxLength: 3 }).map((keys) => pick(all, keys)));

function pick(all: object, keys: readonly string[]): Filter {
  return Object.fromEntries(Object.entries(all).filter(([key, it]) => keys.includes(key) && it !== undefined));
}

/** A record, and of an intent the outcome that belongs to it, and the events that name its call. */
export interface Scanned {
  readonly position: string;
  readonly record: AuditRecord;
  outcome?: AuditRecord;
  readonly told: AuditRecord[];
}

/** Oldest first; of one moment, those of the older chain first. */
export async function scan(directory: string): Promise<Scanned[]> {
  const all: Scanned[] = [];
  for (const chain of await listChains(directory)) {
    const open = new Map<string, Scanned[]>();
    const latest = new Map<string, Scanned>();
    for await (const { record } of readChain(join(directory, chain), () => true)) {
      const scanned: Scanned = { position: `${chain}/${record.seq}`, record, told: [] };
      all.push(scanned);
      const { body } = record;
      if (body.kind === "intent") open.set(body.callId, [...(open.get(body.callId) ?? []), scanned]);
      if (body.kind === "intent") latest.set(body.callId, scanned);
      for (const id of CALLS) if (body.kind === "event" && HAS.call(record, id)) latest.get(id)?.told.push(record);
      if (body.kind !== "outcome") continue;
      const asked = open.get(body.callId)?.pop();
      if (asked) asked.outcome = record;
    }
  }
  return all.toSorted((a, b) => (a.record.time < b.record.time ? -1 : a.record.time > b.record.time ? 1 : 0));
}

const EVENTS_TOO = ["event", "policy", "host", "package", "exitCode", "text"] as const;

/** By what records of one kind alone can be found; of calls, their outcomes belong to them. */
const OF_KIND = {
  intent: ["principal", "client", "tool", "decision"],
  outcome: ["status", "code", "exitCode"],
  event: ["event", "exitCode"],
};

/** Whether there can be a record that a filter asks for, in any log. */
export function canBe(filter: Filter, view: "calls" | "records"): boolean {
  if (view === "calls" && filter.kind === "outcome") return true;
  const { intent: own, outcome: end, event: told } = OF_KIND;
  const sets =
    view === "calls"
      ? { intent: [...own, ...end], event: EVENTS_TOO.some((it) => filter[it] !== undefined) ? told : [] }
      : OF_KIND;
  const special = Object.keys(filter).filter((it) => Object.values(OF_KIND).flat().includes(it));
  return Object.entries(sets).some(
    ([kind, has]) => (filter.kind ?? kind) === kind && special.every((it) => has.includes(it)),
  );
}

/** What `query` has to answer, by the definition of each filter. */
export function expected(all: readonly Scanned[], filter: Filter, view: "calls" | "records"): Scanned[] {
  const kinds =
    EVENTS_TOO.some((it) => filter[it] !== undefined) || filter.kind === "event" ? ["intent", "event"] : ["intent"];
  return all.filter(({ record, outcome: end, told }) => {
    if (view === "calls" && !kinds.includes(record.body.kind)) return false;
    if (filter.kind !== undefined && record.body.kind !== filter.kind) return false;
    const parts = view === "calls" && end ? [record, end] : [record];
    return Object.entries(filter).every(([key, wanted]) => {
      const found = HAS[key as keyof typeof HAS];
      const may = ["status", "code", "exitCode", "host", "package", "text"].includes(key) ? [...parts] : [record];
      if (view === "calls" && ["exitCode", "host", "package"].includes(key)) may.push(...told);
      return found === undefined || may.some((it) => found(it, wanted as never));
    });
  });
}

const HAS = {
  sinceMs: ({ time }: AuditRecord, ms: number) => Date.parse(time) >= ms,
  untilMs: ({ time }: AuditRecord, ms: number) => Date.parse(time) < ms,
  principal: ({ body }: AuditRecord, id: string) => body.kind === "intent" && body.principal.id === id,
  client: ({ body }: AuditRecord, name: string) => body.kind === "intent" && body.principal.client.name === name,
  gateway: (record: AuditRecord, id: string) => record.gateway === id,
  session: ({ body }: AuditRecord, id: string) => body.sessionId === id,
  call: ({ body }: AuditRecord, id: string) =>
    body.callId === id ||
    (body.kind === "event" && (member(body.facts, "callId") === id || list(body.facts, "calls").includes(id))),
  tool: ({ body }: AuditRecord, name: string) => body.kind === "intent" && body.tool === name,
  decision: ({ body }: AuditRecord, it: string) => body.kind === "intent" && body.decision === it,
  status: ({ body }: AuditRecord, it: string) => body.kind === "outcome" && body.status === it,
  code: ({ body }: AuditRecord, it: string) => body.kind === "outcome" && body.code === it,
  exitCode: ({ body }: AuditRecord, it: number) => body.kind !== "intent" && member(body.facts, "exitCode") === it,
  event: ({ body }: AuditRecord, name: string) => body.kind === "event" && body.event === name,
  policy: ({ body }: AuditRecord, id: string) =>
    body.kind === "intent"
      ? body.policies.some((it) => it.id === id || `${it.layer}:${it.id}` === id)
      : list(body.facts, "policies").includes(id),
  host: ({ body }: AuditRecord, text: string) => {
    const given =
      body.kind === "intent"
        ? /@(.*):8443/.exec(String(member(body.arguments, "url")))?.[1]
        : body.kind === "event"
          ? member(body.facts, "host")
          : undefined;
    const wanted = text.toLowerCase();
    return wanted.startsWith("*.") ? String(given).endsWith(wanted.slice(1)) : given === wanted;
  },
  package: ({ body }: AuditRecord, text: string) => {
    const context = body.kind === "intent" ? member(body.request, "context") : body.facts;
    return [...list(context, "packages"), member(context, "purl")].some((purl) => namesOf(String(purl)).includes(text));
  },
  /** Words in one piece of text, side by side. */
  text: ({ body }: AuditRecord, texts: readonly string[]) => {
    const all = tokens(pieces(body).join("\n"));
    return texts.every((text) => {
      const wanted = tokens(text);
      const matches = (at: number) =>
        wanted.every((it, n) =>
          text.endsWith("*") && n === wanted.length - 1 ? all[at + n]?.startsWith(it) : all[at + n] === it,
        );
      return all.some((_, at) => matches(at));
    });
  },
};

function namesOf(purl: string): string[] {
  const known: { readonly [purl: string]: readonly string[] } = {
    "pkg:npm/left-pad@1.0.0": ["pkg:npm/left-pad", "npm:left-pad", "left-pad"],
    "pkg:npm/%40acme/x@2.0.0": ["pkg:npm/%40acme/x", "npm:@acme/x", "@acme/x"],
    "pkg:maven/com.acme/lib@3": ["pkg:maven/com.acme/lib", "maven:com.acme:lib", "com.acme:lib"],
  };
  return [purl, ...(known[purl] ?? [])];
}

function tokens(text: string): string[] {
  const plain = text.normalize("NFD").replaceAll(/\p{M}/gu, "");
  return plain.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
}

/** Each once: a word that stands twice stands where it stood first. */
function pieces(value: unknown, found = new Set<string>()): string[] {
  if (typeof value === "string" || typeof value === "number") found.add(String(value));
  else if (typeof value === "object" && value !== null) for (const it of Object.values(value)) pieces(it, found);
  return [...found];
}

function member(value: unknown, key: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, key) : undefined;
}

function list(value: unknown, key: string): readonly unknown[] {
  const found = member(value, key);
  return Array.isArray(found) ? found : [];
}
