import { decide } from "../policy/decide.ts";
import type { Decision } from "../policy/decision.ts";
import type { PolicyInForce } from "../policy/layer.ts";
import { type LoggingFacts, readsLag } from "../policy/logging.ts";
import type { PolicyRequest } from "../policy/request.ts";
import type { UsageFacts } from "../policy/usage.ts";
import { readsUsage } from "../policy/usage-read.ts";
import type { Budgets, Meter, Spender } from "./budgets.ts";
import { policyFinder, reliefOf } from "./relief.ts";

/**
 * Policy's word by what has been used, and what is used. While nothing in force depends on that, nothing is counted and no file is opened.
 * Where it does and the file can't be read, methods throw GatewayError BUDGETS_UNREADABLE.
 */
export interface Accounts extends Disposable {
  decide(request: PolicyRequest, sessionId: string): Decision;
  /** The request with what has been used, where anything in force depends on that: for who decides it himself. */
  asked(request: PolicyRequest, sessionId: string): PolicyRequest;
  /**
   * The same for a call, with the request as it was decided. It counts as one if it `runs` by this decision: if it is permitted, unless said
   * otherwise.
   */
  reserve(
    request: PolicyRequest,
    sessionId: string,
    runs?: (decision: Decision) => boolean,
  ): { readonly decision: Decision; readonly request: PolicyRequest };
  /** Counts how long a call takes, until disposal. */
  run(of: Spender): Disposable;
  /** Counts a session as open, until disposal. @throws GatewayError SESSION_LIMIT */
  openSession(of: Spender): Disposable;
  egress(of: Spender, bytes: number): void;
  /** Counts a file of a package. */
  package(of: Spender): void;
  /** Of a denial for want of budget: when there is some of it again. */
  relief(decision: Decision, of: Spender): string | undefined;
}

/** @param lag how far central logging is behind now; asked only where something in force depends on it */
export function createAccounts(policy: PolicyInForce, open: () => Budgets, lag: () => LoggingFacts): Accounts {
  let budgets: Budgets | undefined;
  const meters = new Map<string, Meter>();
  /** Those that are open, also while nothing is counted: a policy that counts them may come. */
  const sessions = new Map<Spender, Disposable | undefined>();

  function inUse(): Budgets | undefined {
    if (!readsUsage(policy.current)) return budgets;
    if (budgets) return budgets;
    const opened = open();
    try {
      for (const of of sessions.keys()) sessions.set(of, opened.openSession(of));
    } catch (error) {
      // Else those that are not counted yet never would be.
      opened[Symbol.dispose]();
      throw error;
    }
    budgets = opened;
    return budgets;
  }

  const spender = ({ principal }: PolicyRequest, sessionId: string): Spender => ({
    principalId: principal.id,
    sessionId,
  });

  const withLag = (request: PolicyRequest): PolicyRequest =>
    readsLag(policy.current) ? { ...request, logging: lag() } : request;

  const asked = (request: PolicyRequest, sessionId: string): PolicyRequest => {
    const usage = inUse()?.usage(spender(request, sessionId));
    return withLag(usage ? { ...request, usage } : request);
  };

  return {
    asked,
    decide: (request, sessionId) => decide(policy.current, asked(request, sessionId)),
    reserve: (plain, sessionId, runs) => {
      const { current } = policy;
      const request = withLag(plain);
      const used = inUse();
      if (!used) return { decision: decide(current, request), request };
      let decided = request;
      const decideUsed = (usage: UsageFacts) => {
        decided = { ...request, usage };
        return decide(current, decided);
      };
      const decision = used.reserve(spender(request, sessionId), decideUsed, runs);
      return { decision, request: decided };
    },
    run: (of) => inUse()?.startRun(of) ?? new DisposableStack(),
    openSession: (of) => {
      const limit = policy.current.profile.budgets?.principal.sessions;
      sessions.set(of, inUse()?.openSession(of, limit));
      return {
        [Symbol.dispose]: () => {
          sessions.get(of)?.[Symbol.dispose]();
          sessions.delete(of);
          meters.get(of.sessionId)?.flush();
          meters.delete(of.sessionId);
        },
      };
    },
    egress: (of, bytes) => {
      if (!budgets) return;
      const meter = meters.get(of.sessionId) ?? budgets.meter(of);
      meters.set(of.sessionId, meter);
      meter.add(bytes);
    },
    package: (of) => inUse()?.add(of, "packages", 1),
    relief: (decision, of) => {
      const used = inUse();
      return used && reliefOf(decision, policyFinder(policy.current), used, of);
    },
    [Symbol.dispose]: () => {
      for (const it of sessions.values()) it?.[Symbol.dispose]();
      for (const it of meters.values()) it.flush();
      budgets?.[Symbol.dispose]();
    },
  };
}
