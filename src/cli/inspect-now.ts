import pc from "picocolors";
import type { LiveInspection } from "../compliance/report.ts";
import type { InspectedSession } from "../session/inspection.ts";
import { type Asked, askGateways } from "../session/inspection-ask.ts";
import { counted, oneLine } from "./audit-text.ts";

/** Longer than a gateway takes for a session that does not answer. */
const LIMIT_MS = 90_000;
const TELL_MS = 2_000;
/** In the report. */
const MAX_TOLD = 100;

/** Has the gateways of a state directory inspect their sessions, and says, on stderr as well, what came of it: what they saw is on record then. */
export async function inspectNow(stateDirectory: string): Promise<LiveInspection> {
  const startedMs = performance.now();
  const tell = () => {
    const seconds = Math.round((performance.now() - startedMs) / 1_000);
    process.stderr.write(`sessions are being inspected: ${seconds} s, at most ${LIMIT_MS / 1_000} s\n`);
  };
  const ticker = setInterval(tell, TELL_MS);
  try {
    const asked = await askGateways(stateDirectory, AbortSignal.timeout(LIMIT_MS));
    if (asked.length === 0) process.stderr.write("no gateway runs: nothing was inspected\n");
    for (const line of asked.flatMap(linesOf)) process.stderr.write(`${line}\n`);
    return liveOf(asked);
  } finally {
    clearInterval(ticker);
  }
}

function liveOf(asked: readonly Asked[]): LiveInspection {
  const sessions = asked.flatMap((it) => it.sessions);
  const inspected = sessions.filter((it) => it.state === "inspected").length;
  const notInspected = asked.flatMap(({ gateway, sessions, problem }) => [
    ...sessions.flatMap((it) => (it.state === "inspected" ? [] : [`${it.sessionId}: ${whyNot(it)}`])),
    ...(problem === undefined ? [] : [`${gateway}: ${problem}`]),
  ]);
  const couldNot = asked.some((it) => it.problem !== undefined) || sessions.some((it) => it.state === "unseen");
  return {
    gateways: asked.length,
    inspected,
    notInspected: notInspected.slice(0, MAX_TOLD).map((it) => oneLine(it, 500)),
    isBlind: inspected === 0 && couldNot,
  };
}

function linesOf({ gateway, sessions, problem }: Asked): string[] {
  const { red, yellow } = pc.createColors(process.stderr.isTTY === true);
  const seen = sessions.filter((it) => it.state === "inspected");
  const weaker = sessions.filter((it) => it.weaker.length > 0);
  const rest = sessions.filter((it) => it.state !== "inspected" && it.weaker.length === 0);
  return [
    `${oneLine(gateway, 60)}: ${counted(seen.length, "session")} inspected`,
    ...weaker.map((it) => `  ${red("ended")} ${oneLine(`${it.sessionId}: ${it.weaker.join("; ")}`, 1_000)}`),
    ...rest.map((it) => `  ${yellow("not inspected")} ${oneLine(`${it.sessionId}: ${whyNot(it)}`, 500)}`),
    ...(problem === undefined ? [] : [`  ${yellow("not all was inspected")}: ${oneLine(problem, 500)}`]),
  ];
}

function whyNot({ state, problem }: InspectedSession): string {
  if (state === "hibernated") return "it sleeps on disk, and is not woken for this";
  if (state === "opening") return "its sandbox is being prepared";
  return problem ?? `it is ${state}`;
}
