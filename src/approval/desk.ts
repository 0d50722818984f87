import type { AuditWriter } from "../audit/record.ts";
import { GatewayError } from "../errors.ts";
import { abortable } from "../lib/deadline.ts";
import { printable } from "../lib/text.ts";
import type { Logger } from "../log.ts";
import type { ChannelName, Decision } from "../policy/decision.ts";
import type { PolicyInForce } from "../policy/layer.ts";
import type { Answer, Approval, Approvals, Asked, Channel, Question } from "./approval.ts";
import { type Consultation, consult, type Ending } from "./consult.ts";
import { Denials } from "./denials.ts";
import { recorded } from "./details.ts";
import { Grants, grantOf, stillAsks } from "./grants.ts";
import { questionOf, sameness } from "./question.ts";
import { approvalEvent } from "./records.ts";
import { cancelled, denied, deniedBefore, expired, type Refusal, tiring, tooMany, unreachable } from "./refusals.ts";
import { type Limits, Seats } from "./seats.ts";

export interface DeskPorts {
  /** All that are set up, of which policy may take some only. */
  readonly channels: readonly Channel[];
  /** It is the user of an organisation's computer who has set them up: see `isEnough`. */
  readonly usersOwn?: boolean;
  readonly audit: AuditWriter;
  readonly log: Logger;
  /** Milliseconds since 1970. */
  readonly nowMs: () => number;
  /** After so long without an answer it is no. */
  readonly timeoutMs?: number;
  /** With it, a question under a policy that is no longer in force is taken back. */
  readonly inForce?: PolicyInForce;
  readonly limits?: Limits;
}

const DEFAULT_TIMEOUT_MS = 10 * 60_000;
/** More at once and people stop reading. */
const DEFAULT_LIMITS: Limits = { session: 4, total: 16 };
/** Clients give up a call that shows no sign of life for 60 s. */
const PROGRESS_MS = 15_000;
const MAX_COMMENT_CHARS = 1_000;

/** A question that is with people. */
interface Open {
  readonly sessionId: string;
  readonly principalId: string;
  readonly bundleDigest: string;
  /** Aborts with the reason when the question makes no sense any more. */
  readonly withdrawn: AbortController;
  /** Never rejects. What came of it, where that is the answer to everybody who waits for the same. */
  readonly ended: Promise<Refusal | undefined>;
}

/** Asks people by the given channels. Dispose of it when the gateway ends: what is open is taken back. */
export function createApprovals(ports: DeskPorts): Approvals & Disposable {
  return new Desk(ports);
}

class Desk implements Approvals, Disposable {
  readonly #ports: DeskPorts;
  readonly #timeoutMs: number;
  readonly #seats: Seats;
  readonly #grants = new Grants();
  /** By `sameness`. */
  readonly #open = new Map<string, Open>();
  readonly #denials = new Denials();
  readonly #listening: Disposable | undefined;

  constructor(ports: DeskPorts) {
    this.#ports = ports;
    this.#timeoutMs = ports.timeoutMs ?? DEFAULT_TIMEOUT_MS;
    this.#seats = new Seats(ports.limits ?? DEFAULT_LIMITS);
    this.#listening = ports.inForce?.onChange(({ identity }) =>
      this.#withdraw("the policy was changed meanwhile", (it) => it.bundleDigest !== identity.digest),
    );
  }

  async approve(asked: Asked, signal: AbortSignal, progress: (message: string) => void): Promise<Approval> {
    // INVARIANT: people lift what asks, and nothing that is forbidden.
    if (asked.decision.outcome !== "ask")
      throw new GatewayError("INTERNAL", "only what policy asks about can be approved");
    const key = sameness(asked);
    const known = await this.#known(asked, key);
    if (known) return known;
    using seat = this.#seats.take(asked.sessionId);
    if (!seat) return await this.#refuse(asked, tooMany());
    for (let same = this.#open.get(key); same; same = this.#open.get(key)) {
      progress("waiting: a person is asked the very same already");
      const shared = await abortable(same.ended, signal).catch(() => cancelled("the call was given up"));
      if (shared) return await this.#refuse(asked, shared);
      const settled = await this.#known(asked, key);
      if (settled) return settled;
    }
    // INVARIANT: nothing is awaited between the look at `#open` and the entry, so that nothing is asked twice at once.
    return await this.#ask(asked, key, signal, progress);
  }

  grants(sessionId: string) {
    const current = this.#ports.inForce?.current.identity;
    return this.#grants
      .of(sessionId, this.#ports.nowMs())
      .filter((it) => current === undefined || stillAsks(it, current))
      .map(({ approvalId, pattern, approver, grantedAt, expiresAt }) => ({
        ...{ approvalId, pattern, approver },
        ...{ grantedAt, expiresAt },
      }));
  }

  forget(sessionId: string): void {
    this.#grants.forget(sessionId);
    const nowMs = this.#ports.nowMs();
    for (const it of this.#open.values())
      if (it.sessionId === sessionId && !it.withdrawn.signal.aborted) this.#denials.giveUp(it.principalId, nowMs);
    this.#withdraw("its session has ended", (it) => it.sessionId === sessionId);
  }

  [Symbol.dispose](): void {
    this.#listening?.[Symbol.dispose]();
    this.#withdraw("the gateway is shutting down", () => true);
  }

  /** What was said before and still holds. */
  async #known(asked: Asked, key: string): Promise<Approval | undefined> {
    const nowMs = this.#ports.nowMs();
    const grant = this.#grants.covering(asked, nowMs);
    if (grant) {
      const { approvalId, approver, pattern, digest } = grant;
      await this.#record("approval-given", asked, {
        approvalId,
        digest,
        approver,
        channel: "grant",
        scope: "session",
        pattern,
      });
      return { approved: true, approvalId, approver, channel: "grant" };
    }
    const denial = this.#denials.of(key, nowMs);
    if (denial) {
      const { approvalId, approver } = denial;
      return await this.#refuse(asked, deniedBefore(denial, nowMs), { approvalId, approver });
    }
    const untilMs = this.#denials.untilMs(asked.request.principal.id, nowMs);
    return untilMs === undefined ? undefined : await this.#refuse(asked, tiring(untilMs, nowMs));
  }

  async #ask(asked: Asked, key: string, signal: AbortSignal, progress: (message: string) => void): Promise<Approval> {
    const { sessionId, decision } = asked;
    const { nowMs, inForce } = this.#ports;
    const withdrawn = new AbortController();
    const { promise: ended, resolve } = Promise.withResolvers<Refusal | undefined>();
    const principalId = asked.request.principal.id;
    const entry = { sessionId, principalId, bundleDigest: decision.bundle.digest, withdrawn, ended };
    this.#open.set(key, entry);
    let shared: Refusal | undefined;
    try {
      const askedAtMs = nowMs();
      const question = questionOf(asked, askedAtMs, askedAtMs + this.#timeoutMs);
      if (inForce && inForce.current.identity.digest !== decision.bundle.digest)
        withdrawn.abort(new GatewayError("CANCELLED", "the policy was changed meanwhile"));
      const approval = await this.#put(asked, question, { key, signal, withdrawn: withdrawn.signal, progress });
      const forAll =
        !approval.approved &&
        (withdrawn.signal.aborted || approval.why === "expired" || approval.why === "unreachable");
      if (forAll) shared = approval;
      return approval;
    } finally {
      this.#open.delete(key);
      resolve(shared);
    }
  }

  async #put(asked: Asked, question: Question, by: Asking): Promise<Approval> {
    const { decision, details } = asked;
    const { id: approvalId, digest, action, expiresAt, policies } = question;
    const { usersOwn = false } = this.#ports;
    const channels = this.#ports.channels.filter(({ name }) => isEnough(name, decision, usersOwn));
    const names = channels.map((it) => it.name);
    const facts = { approvalId, digest, action, details: recorded(details), policies, channels: names, expiresAt };
    await this.#record("approval-requested", asked, facts);
    const either = AbortSignal.any([by.signal, by.withdrawn]);
    const consultation = consult(
      question,
      {
        ...this.#ports,
        channels,
        onRefused: (problem, { approver }, channel) =>
          this.#record("approval-refused", asked, {
            approvalId,
            digest,
            why: "invalid",
            problem,
            approver: printable(approver, 200),
            channel,
          }),
      },
      either,
    );
    const tell = () =>
      by.progress(`waiting for a person's approval until ${expiresAt}; \`glovebox approve\` in a terminal shows it`);
    tell();
    const ticking = setInterval(tell, PROGRESS_MS);
    try {
      return await this.#settle(asked, question, await consultation.ending, { ...by, consultation });
    } finally {
      clearInterval(ticking);
      // Of what was settled before, the channels have been told.
      consultation.close("it could not be put on record");
    }
  }

  async #settle(
    asked: Asked,
    question: Question,
    ending: Ending,
    { key, withdrawn, consultation }: Asking & { readonly consultation: Consultation },
  ): Promise<Approval> {
    if (ending.why === "answered") return await this.#answered(asked, question, ending, { key, consultation });
    if (ending.why === "cancelled" && !withdrawn.aborted)
      this.#denials.giveUp(asked.request.principal.id, this.#ports.nowMs());
    const reason = withdrawn.reason instanceof Error ? withdrawn.reason.message : "the call was given up";
    const refusal =
      ending.why === "expired"
        ? expired(this.#timeoutMs)
        : ending.why === "cancelled"
          ? cancelled(reason)
          : unreachable(question.policies, asked.decision.channels);
    await this.#refuse(asked, refusal, { approvalId: question.id, digest: question.digest });
    consultation.close(ending.why === "cancelled" ? reason : ending.why);
    return refusal;
  }

  async #answered(
    asked: Asked,
    question: Question,
    { answer, channel }: Extract<Ending, { why: "answered" }>,
    { key, consultation }: { readonly key: string; readonly consultation: Consultation },
  ): Promise<Approval> {
    const { id: approvalId, digest } = question;
    const { approver } = answer;
    const comment = commentOf(answer);
    const how = `by ${approver} through ${channel}`;
    const nowMs = this.#ports.nowMs();
    if (answer.verdict !== "allow") {
      const refusal = denied({ approver, ...comment });
      this.#denials.add(key, { approvalId, principalId: asked.request.principal.id, approver, ...comment }, nowMs);
      await this.#refuse(asked, refusal, { approvalId, digest, approver, channel, ...comment });
      consultation.close(`denied ${how}`);
      return refusal;
    }
    const grant = answer.scope === "session" ? grantOf(asked, { approvalId, digest, approver, nowMs }) : undefined;
    const scope = grant ? { scope: "session", pattern: grant.pattern } : { scope: "call" };
    await this.#record("approval-given", asked, { approvalId, digest, approver, channel, ...scope, ...comment });
    // A session that was forgotten while this was written has no use for a grant, and nobody would take it away.
    if (grant && this.#open.get(key)?.withdrawn.signal.aborted === false) this.#grants.add(grant);
    consultation.close(`allowed ${how}`);
    return { approved: true, approvalId, approver, channel };
  }

  async #refuse(asked: Asked, refusal: Refusal, facts: { readonly [name: string]: string } = {}): Promise<Refusal> {
    await this.#record("approval-refused", asked, { action: asked.request.action, ...facts, why: refusal.why });
    return refusal;
  }

  /** @throws GatewayError AUDIT_UNWRITABLE */
  #record(event: Parameters<typeof approvalEvent>[0], asked: Asked, facts: object): Promise<void> {
    return this.#ports.audit.append(approvalEvent(event, asked, facts));
  }

  #withdraw(reason: string, which: (open: Open) => boolean): void {
    for (const it of this.#open.values()) if (which(it)) it.withdrawn.abort(new GatewayError("CANCELLED", reason));
  }
}

interface Asking {
  readonly key: string;
  readonly signal: AbortSignal;
  readonly withdrawn: AbortSignal;
  readonly progress: (message: string) => void;
}

/**
 * Whether an answer by this way is enough. By a webhook or a Slack that a user has set up it is the user who answers, under any name: what the
 * organisation or the team asks, nobody is asked there.
 */
function isEnough(name: ChannelName, { channels, policies }: Decision, usersOwn: boolean): boolean {
  if (channels && !channels.includes(name)) return false;
  if (!usersOwn || (name !== "webhook" && name !== "slack")) return true;
  return policies.every(({ layer }) => layer === "project" || layer === "user");
}

function commentOf({ comment }: Answer): { readonly comment?: string } {
  return comment ? { comment: printable(comment, MAX_COMMENT_CHARS) } : {};
}
