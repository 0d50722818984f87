import { setImmediate as breath } from "node:timers/promises";
import { onTestFinished } from "vitest";
import type { Answer, Asked, Channel, Question } from "../../src/approval/approval.ts";
import { createApprovals, type DeskPorts } from "../../src/approval/desk.ts";
import { detailsOf } from "../../src/approval/details.ts";
import { openAuditLog } from "../../src/audit/log.ts";
import type { AuditWriter, EventBody, RecordBody } from "../../src/audit/record.ts";
import { describeCall } from "../../src/call/describe.ts";
import { createLog } from "../../src/log.ts";
import { decide, policyOf } from "../../src/policy/decide.ts";
import type { ChannelName } from "../../src/policy/decision.ts";
import type { Policy } from "../../src/policy/layer.ts";
import { profileSchema } from "../../src/policy/profile.ts";
import type { Principal } from "../../src/policy/request.ts";
import { onlyChain, recordsOf, scratch } from "./audit.ts";
import { layerOf } from "./bundle.ts";

export const ADA: Principal = { id: "local:ada", client: { name: "test", version: "1" }, transport: "stdio" };
/** 2026-01-31T10:00:00Z */
export const START_MS = 1_769_853_600_000;

const TOOLS = [
  "exec",
  "shell",
  "writeProcess",
  "readFile",
  "writeFile",
  "editFile",
  "exposePort",
  "installPackage",
  "importFiles",
  "searchFiles",
]
  .map((it) => `Glovebox::Action::"${it}"`)
  .join(", ");
const policies = new Map<string, Policy>();

/** Everything is asked about, by one policy. */
export function askingPolicy(annotations = "", more = ""): Policy {
  const texts = [
    `permit(principal, action in [${TOOLS}], resource);`,
    `permit(principal, action == Glovebox::Action::"connect", resource in Glovebox::Host::"example.org");`,
    `@id("people") @outcome("ask") @reason("a person decides") ${annotations}`,
    `forbid(principal, action in [${TOOLS}, Glovebox::Action::"connect"], resource);${more}`,
  ];
  const key = texts.join("\n");
  const known = policies.get(key) ?? policyOf([layerOf("user", key)], profileSchema.parse({}));
  policies.set(key, known);
  return known;
}

interface Ask {
  readonly sessionId?: string;
  readonly principal?: Principal;
  readonly policy?: Policy;
}

/** What the spine hands over for a call, made by the real capabilities and the real policy. */
export function askedFor(
  tool: string,
  args: unknown,
  { sessionId = "ses-1", principal = ADA, policy }: Ask = {},
): Asked {
  const described = describeCall(tool, args, principal);
  if ("problem" in described) throw new Error(described.problem);
  const { request } = described;
  const decision = decide(policy ?? askingPolicy(), request);
  if (decision.outcome !== "ask") throw new Error(`the policy says ${decision.outcome}: ${decision.problems.join()}`);
  return { request, decision, sessionId, callId: "call-1", details: detailsOf(tool, args, request) };
}

/** A channel whose person is the test. */
export interface TestChannel extends Channel {
  readonly questions: Question[];
  /** How each question was taken back. */
  readonly taken: string[];
  /** The question that comes next, or came last and was not answered. */
  next(): Promise<Question>;
  answer(changes?: Partial<Answer>): Promise<void>;
  giveUp(error?: Error): Promise<void>;
}

/** `atOnce`: answers by itself. */
export function testChannel(name: ChannelName, atOnce?: Partial<Answer>): TestChannel {
  const questions: Question[] = [];
  const taken: string[] = [];
  let waiting:
    | { question: Question; resolve: (answer: Answer | undefined) => void; reject: (e: Error) => void }
    | undefined;
  let arrival = Promise.withResolvers<Question>();
  const answerTo = (question: Question, changes: Partial<Answer>): Answer => ({
    questionId: question.id,
    digest: question.digest,
    verdict: "allow",
    scope: "call",
    approver: name === "terminal" ? "local:ada" : name === "elicitation" ? "client:local:ada" : `${name}:bob`,
    ...changes,
  });
  const settle = async (how: (it: NonNullable<typeof waiting>) => void) => {
    await arrival.promise;
    if (!waiting) throw new Error("nothing was asked");
    const asked = waiting;
    arrival = Promise.withResolvers();
    how(asked);
    await breath();
  };
  return {
    name,
    questions,
    taken,
    next: () => arrival.promise,
    answer: (changes = {}) => settle((it) => it.resolve(answerTo(it.question, changes))),
    giveUp: (error) => settle((it) => (error ? it.reject(error) : it.resolve(undefined))),
    ask: (question, signal) => {
      questions.push(question);
      if (atOnce) return Promise.resolve(answerTo(question, atOnce));
      const { promise, resolve, reject } = Promise.withResolvers<Answer | undefined>();
      waiting = { question, resolve, reject };
      arrival.resolve(question);
      signal.addEventListener("abort", () => taken.push(String(signal.reason.message)), { once: true });
      return promise;
    },
  };
}

export interface TestDesk extends ReturnType<typeof createApprovals> {
  /** Events on record so far. */
  events(): EventBody[];
  /** As `event facts` in short. */
  story(): string[];
  advance(ms: number): void;
  ask(asked: Asked, signal?: AbortSignal): ReturnType<ReturnType<typeof createApprovals>["approve"]>;
}

/** A desk with a real audit log. `failAt`: the how-manieth record can't be written. */
export async function testDesk(
  channels: readonly Channel[],
  { failAt, ...ports }: Partial<DeskPorts> & { readonly failAt?: number } = {},
): Promise<TestDesk> {
  const directory = scratch();
  const log = await openAuditLog({ directory, gateway: "gw-test" });
  onTestFinished(() => log[Symbol.asyncDispose]());
  let written = 0;
  const audit: AuditWriter = {
    append: async (body: RecordBody) => {
      written += 1;
      // A log that is closed refuses for real.
      if (written === failAt) await log[Symbol.asyncDispose]();
      await log.append(body);
    },
  };
  let nowMs = START_MS;
  const desk = createApprovals({ channels, audit, log: createLog("silent"), nowMs: () => nowMs, ...ports });
  onTestFinished(() => desk[Symbol.dispose]());
  const events = () =>
    recordsOf(onlyChain(directory)).flatMap(({ body }) =>
      body.kind === "event" && body.event.startsWith("approval") ? [body] : [],
    );
  return {
    approve: (asked, signal, progress) => desk.approve(asked, signal, progress),
    grants: (sessionId) => desk.grants(sessionId),
    forget: (sessionId) => desk.forget(sessionId),
    [Symbol.dispose]: () => desk[Symbol.dispose](),
    events,
    story: () =>
      events().map(({ event, facts }) => {
        const { why, channel, approver, problem } = facts as Record<string, string>;
        return [event.slice("approval-".length), why, channel, approver, problem].filter(Boolean).join(" ");
      }),
    advance: (ms) => {
      nowMs += ms;
    },
    ask: (asked, signal = new AbortController().signal) => desk.approve(asked, signal, () => undefined),
  };
}
