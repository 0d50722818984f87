import type { Check } from "../check.ts";

/** What was read is what was written. */
export const logVerifies: Check = {
  id: "log-verifies",
  of: "chains",
  looksFor:
    "Each chain of the log verifies: every record follows the one before by its hash, from the first, or from where a signed record says that those before were removed, to where the head says that the chain ends.",
  see: ({ records, problems, problemCount, isWhole, truncated }, tally) => {
    const [problem] = problems;
    if (problem === undefined && truncated) {
      const gone = `${truncated.records} from before ${truncated.before} are gone`;
      tally.finds("chains that verify from where earlier records were removed", `${records} records; ${gone}`);
    } else if (problem === undefined) tally.finds("chains that verify", `${records} records, whole`);
    else if (isWhole) tally.concerns("chains with half a record at the end, as a crash leaves it");
    else {
      const place = problem.line === 0 ? problem.file : `${problem.file}:${problem.line}`;
      const more = problemCount === 1 ? "" : `, and ${problemCount - 1} more`;
      tally.contradicts("chains that do not verify", `${place}: ${problem.message}${more}`);
    }
  },
};
