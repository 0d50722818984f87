import type { PastDecision } from "../past.ts";
import { cedarSet, cedarString, entity } from "./quote.ts";
import { grouped, type LearnedTest, type LeftOut, type Lesson, type Rule } from "./rule.ts";

/** Tools about a session and what runs in it. Names of processes are new each time, so that they are permitted as a whole. */
const WHOLE = [
  "listProcesses",
  "readProcess",
  "writeProcess",
  "stopProcess",
  "openSession",
  "closeSession",
  "listSessions",
  "sessionStatus",
  "resetSession",
  "explainPolicy",
];
/** Tools whose one fact says what they are about. */
const BY_FACT: Readonly<Record<string, string>> = {
  snapshotSession: "snapshot",
  restoreSession: "snapshot",
  deleteSnapshot: "snapshot",
  exposePort: "port",
};

/** What acts on the sandbox as a whole. */
export function learnTools(decisions: readonly PastDecision[]): Lesson {
  const rules: Rule[] = [];
  const leftOut: LeftOut[] = [];
  const whole = decisions.filter((it) => WHOLE.includes(it.request.action));
  if (whole.length > 0) {
    const actions = cedarSet(whole.map((it) => entity("Action", it.request.action)));
    rules.push({
      id: "session-tools",
      remarks: [],
      head: `action in ${actions}, resource`,
      conditions: [],
      calls: whole.length,
      tests: [],
    });
  }
  for (const [action, its] of grouped(decisions, (it) => it.request.action)) {
    if (WHOLE.includes(action)) continue;
    const conditions = conditionOf(action, its);
    if (conditions) {
      const head = `action == ${entity("Action", action)}, resource is Glovebox::Session`;
      rules.push({ id: action, remarks: [], head, conditions: [conditions], calls: its.length, tests: [] });
    } else leftOut.push(...its.map((decision) => ({ decision, why: "no rule is known that would permit no more" })));
  }
  return { rules, leftOut };
}

function conditionOf(action: string, decisions: readonly PastDecision[]): string | undefined {
  if (action === "installPackage") {
    const asked = decisions.flatMap(({ request }) => request.context["packages"] ?? []);
    return `${cedarSet(asked.map(literal))}.containsAll(context.packages)`;
  }
  if (action === "forkSession") {
    const named = decisions.flatMap(({ request }) => request.context["snapshot"] ?? []);
    const parts = [
      ...(named.length > 0
        ? [`context has snapshot && ${cedarSet(named.map(literal))}.contains(context.snapshot)`]
        : []),
      ...(named.length < decisions.length ? ["!(context has snapshot)"] : []),
    ];
    return parts.length === 1 ? parts.join("") : `(${parts.map((it) => `(${it})`).join(" || ")})`;
  }
  const fact = BY_FACT[action];
  if (fact === undefined) return undefined;
  const seen = decisions.flatMap(({ request }) => request.context[fact] ?? []);
  return `${cedarSet(seen.map(literal))}.contains(context.${fact})`;
}

function literal(fact: unknown): string {
  return typeof fact === "number" ? String(fact) : cedarString(String(fact));
}

/** Hosts exactly, with port and scheme. */
export function learnConnections(decisions: readonly PastDecision[]): Lesson {
  const connections = decisions.flatMap(({ request: { resource, context } }) =>
    resource.type === "host"
      ? [{ host: resource.host, port: Number(context["port"]), scheme: String(context["scheme"]) }]
      : [],
  );
  const rules = grouped(connections, (it) => `${it.host} ${it.scheme}`).flatMap(([, its], index): Rule[] => {
    const [first] = its;
    if (!first) return [];
    const ports = cedarSet(its.map((it) => String(it.port)));
    return [
      {
        id: `connect-${index + 1}`,
        remarks: ["the log does not say what was asked of it: add methods and paths where you know them"],
        head: `action == Glovebox::Action::"connect", resource == ${entity("Host", first.host)}`,
        conditions: [`${ports}.contains(context.port)`, `context.scheme == ${cedarString(first.scheme)}`],
        calls: its.length,
        tests: its.map((it): LearnedTest => ({ tool: "connect", arguments: it })),
      },
    ];
  });
  return { rules, leftOut: [] };
}
