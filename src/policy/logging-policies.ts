import type { LoggingFacts, LoggingLimits } from "./logging.ts";
import { actionEntity, NEW_CALLS } from "./new-calls.ts";

const LIMITS: Readonly<Record<keyof LoggingLimits, { readonly fact: keyof LoggingFacts; readonly words: string }>> = {
  maxLagSeconds: { fact: "lagSeconds", words: "seconds" },
  maxLagRecords: { fact: "lagRecords", words: "records" },
};

/** The Cedar policies that a profile's `logging` stands for. */
export function loggingPolicies(limits: LoggingLimits): string[] {
  return (["maxLagSeconds", "maxLagRecords"] as const).flatMap((name) => {
    const most = limits[name];
    if (most === undefined) return [];
    const { fact, words } = LIMITS[name];
    const reason = `central logging is more than ${most} ${words} behind, or nobody receives it: \`glovebox audit status\` says why`;
    const head = `principal, action in [${NEW_CALLS.map(actionEntity).join(", ")}], resource`;
    const when = `when { principal.logging.${fact} > ${most} }\nunless { resource is Glovebox::Package }`;
    return [`@id("logging.${name}")\n@reason(${JSON.stringify(reason)})\nforbid (${head})\n${when};\n`];
  });
}
