import type { Check } from "../check.ts";

/** What was read is what was written. */
export const logVerifies: Check = {
  id: "log-verifies",
  of: "chains",
  looksFor:
    "Each chain of the log verifies: every record follows the one before by its hash, to where the head says the chain ends.",
  see: ({ records, problems, problemCount, isWhole }, tally) => {
    const [problem] = problems;
    if (problem === undefined) tally.finds("chains that verify", `${records} records, whole`);
    else if (isWhole) tally.concerns("chains with half a record at the end, as a crash leaves it");
    else {
      const place = problem.line === 0 ? problem.file : `${problem.file}:${problem.line}`;
      const more = problemCount === 1 ? "" : `, and ${problemCount - 1} more`;
      tally.contradicts("chains that do not verify", `${place}: ${problem.message}${more}`);
    }
  },
};
