import type { BudgetLimits } from "./budget-schema.ts";
import { CONNECT } from "./connect.ts";
import { actionEntity, NEW_CALLS } from "./new-calls.ts";
import { INSTALL_PACKAGE } from "./package.ts";
import { ACTIONS, SKILLS } from "./schema.ts";
import type { UsageFact } from "./usage.ts";

/** They open no session, whatever they are called for. */
const OPENING_NONE = [CONNECT, "sessionStatus", "listSessions", "closeSession", "explainPolicy", "deleteSnapshot"];
/** They open another one, whether theirs is open or not. */
const OPENING_ANOTHER = ["openSession", "forkSession"];

const MIB = 1_048_576;

interface Budget {
  readonly fact: UsageFact;
  /** How much of the fact makes one of the limit. */
  readonly unit: number;
  /** What so many are, in words. */
  readonly words: string;
  readonly actions: readonly string[];
  /** Whether packages that are on their way are not meant: the call that they come of was counted when it came. */
  readonly callsOnly: boolean;
}

type Limit = Exclude<keyof BudgetLimits["principal"], "sessions">;

const CALLS = {
  unit: 1,
  actions: NEW_CALLS,
  callsOnly: true,
};
const EGRESS = { unit: MIB, actions: [CONNECT, INSTALL_PACKAGE], callsOnly: false };
const PACKAGES = { unit: 1, actions: [INSTALL_PACKAGE], callsOnly: false };

const BUDGETS: Readonly<Record<Limit, Budget>> = {
  callsPerMinute: { ...CALLS, fact: "callsLastMinute", words: "calls a minute" },
  callsPerHour: { ...CALLS, fact: "callsLastHour", words: "calls an hour" },
  callsPerDay: { ...CALLS, fact: "callsLastDay", words: "calls a day" },
  runSecondsPerHour: { ...CALLS, fact: "runSecondsLastHour", words: "seconds of running an hour" },
  runSecondsPerDay: { ...CALLS, fact: "runSecondsLastDay", words: "seconds of running a day" },
  egressMiBPerHour: { ...EGRESS, fact: "egressBytesLastHour", words: "MiB of network traffic an hour" },
  egressMiBPerDay: { ...EGRESS, fact: "egressBytesLastDay", words: "MiB of network traffic a day" },
  packagesPerHour: { ...PACKAGES, fact: "packagesLastHour", words: "package files an hour" },
  packagesPerDay: { ...PACKAGES, fact: "packagesLastDay", words: "package files a day" },
};

/** The Cedar policies that a profile's `budgets` stands for. */
export function budgetPolicies({ principal, session }: BudgetLimits): string[] {
  const { sessions, ...limits } = principal;
  return [
    ...policiesOf("principal", limits),
    ...(sessions === undefined ? [] : [sessionsPolicy(sessions)]),
    ...policiesOf("session", session),
  ];
}

function policiesOf(whose: "principal" | "session", limits: BudgetLimits["session"]): string[] {
  const named = Object.entries(BUDGETS) as [Limit, Budget][];
  return named.flatMap(([name, { fact, unit, words, actions, callsOnly }]) => {
    const most = limits[name];
    if (most === undefined) return [];
    const reason = `${whose === "session" ? "this session's" : "the"} budget of ${most} ${words} is used up`;
    const when = `principal.${whose === "session" ? "session" : "usage"}.${fact} >= ${most * unit}`;
    return [forbid(`${whose}.${name}`, reason, actions, when, callsOnly)];
  });
}

/**
 * Most calls are for a session that is open, and may go on when as many are open as may be. One that is not open (the default one, before its
 * first call) would be opened by the call: then it is one too many, as every further one is.
 */
function sessionsPolicy(most: number): string {
  const actions = [...ACTIONS.filter((it) => !OPENING_NONE.includes(it)), SKILLS];
  const another = `action in [${OPENING_ANOTHER.map(actionEntity).join(", ")}]`;
  const when = `principal.openSessions >= ${most} && (!principal.sessionIsOpen || ${another})`;
  const reason = `the budget of ${most} open sessions is used up: close one with closeSession`;
  return forbid("principal.sessions", reason, actions, when, true);
}

function forbid(id: string, reason: string, actions: readonly string[], when: string, callsOnly: boolean): string {
  const head = `principal, action in [${actions.map(actionEntity).join(", ")}], resource`;
  const unless = callsOnly ? "\nunless { resource is Glovebox::Package }" : "";
  return `@id("budgets.${id}")\n@reason(${JSON.stringify(reason)})\nforbid (${head})\nwhen { ${when} }${unless};\n`;
}
