import { CONNECT } from "./connect.ts";
import { ACTIONS, SKILLS } from "./schema.ts";

/** They look, or end things: whoever may do nothing new still has to see that, and to be able to stop. */
const ALWAYS = [
  "sessionStatus",
  "listSessions",
  "listProcesses",
  "readProcess",
  "stopProcess",
  "closeSession",
  "explainPolicy",
];

/** What a limit of a profile is about that ends new work. Packages that are on their way come of a call that was decided before. */
export const NEW_CALLS: readonly string[] = [...ACTIONS.filter((it) => it !== CONNECT && !ALWAYS.includes(it)), SKILLS];

export function actionEntity(name: string): string {
  return `Glovebox::Action::${JSON.stringify(name)}`;
}
