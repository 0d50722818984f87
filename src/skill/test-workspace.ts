import { posix } from "node:path";
import { z } from "zod";
import type { CallResult } from "../call/ports.ts";
import { exec } from "../capability/exec.ts";
import { WORKSPACE } from "../capability/fields.ts";
import { listDirectory } from "../capability/list-directory.ts";
import { resetSession } from "../capability/session.ts";
import { writeFile } from "../capability/write-file.ts";
import { answerText } from "./test-compare.ts";
import { isPreparing, patient, type TestPort } from "./test-port.ts";
import type { SkillTest } from "./tests-schema.ts";

const MAX_ENTRIES = 5_000;

/** The sandbox in which tests run: the default one, which any policy under which skills are used gives. */
export interface TestWorkspace {
  /** Before a skill's first test in it: a sandbox that nothing has used. What is wrong, if policy lets none be had. @throws GatewayError when there can be none */
  renew(): Promise<string | undefined>;
  /** Before each further test. What is wrong, if the workspace can't be emptied. @throws GatewayError as `renew` */
  empty(): Promise<string | undefined>;
  /** What is wrong, if a file can't be put in place. */
  put(files: SkillTest["files"]): Promise<string | undefined>;
  /** Those that are not there, each with why. */
  missing(paths: readonly string[]): Promise<readonly string[]>;
}

/** @param port that answers while the sandbox is being prepared, too */
export function testWorkspace(port: TestPort): TestWorkspace {
  const { call } = patient(port);
  let isUsed = false;

  const renew = async (): Promise<string | undefined> => {
    // Another one would be begun if this was called again while the sandbox is prepared; whatever is called next waits for it.
    const answer = await port.call(resetSession.name, {});
    if (answer.kind === "done" || isPreparing(answer)) return undefined;
    // What nobody has used needs no renewal.
    if (answer.kind === "denied" && !isUsed) return undefined;
    if (answer.kind === "failed") throw answer.error;
    return `the sandbox can't be begun anew: ${answerText(answer)}`;
  };

  return {
    renew: async () => {
      const problem = await renew();
      isUsed = true;
      return problem;
    },
    empty: async () => {
      const emptied = await call(exec.name, { argv: ["find", WORKSPACE, "-mindepth", "1", "-delete"] });
      return hasSucceeded(emptied) ? undefined : await renew();
    },
    put: async (files) => {
      for (const { path, ...it } of files) {
        const content = "text" in it ? { content: it.text } : { content: it.base64, encoding: "base64" };
        const answer = await call(writeFile.name, { path, ...content });
        if (answer.kind !== "done") return `${path} can't be put in place: ${answerText(answer)}`;
      }
      return undefined;
    },
    missing: async (paths) => {
      const missing: string[] = [];
      for (const path of paths) {
        const directory = posix.dirname(path);
        const answer = await call(listDirectory.name, { path: directory, limit: MAX_ENTRIES });
        if (answer.kind === "done" && namesIn(answer).includes(posix.basename(path))) continue;
        missing.push(`${path} is not there${answer.kind === "done" ? "" : `: ${answerText(answer)}`}`);
      }
      return missing;
    },
  };
}

const ran = z.object({ exitCode: z.literal(0) });
const listing = z.object({ entries: z.array(z.object({ name: z.string() })) });

function hasSucceeded(answer: CallResult): boolean {
  return answer.kind === "done" && ran.safeParse(answer.outcome.result).success;
}

function namesIn({ outcome }: CallResult & { kind: "done" }): readonly string[] {
  return listing.parse(outcome.result).entries.map((it) => it.name);
}
