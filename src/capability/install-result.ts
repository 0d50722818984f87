import { z } from "zod";
import type { Admitted, Refused } from "../packages/session-packages.ts";
import type { EcosystemName } from "../policy/ecosystems/ecosystem.ts";
import { ENDED_BY, type Process } from "../session/process.ts";
import type { Outcome } from "./capability.ts";
import { refusalLine, refusalResult } from "./choose-packages.ts";
import type { Installed } from "./install-run.ts";
import { oneLine, present } from "./render.ts";
import { headline, stateOf, streams } from "./run.ts";

/** Named in a result: an npm package can bring a thousand others. The audit log has them all. */
const MAX_NAMED = 50;
const MAX_REFUSALS = 64;
/** Of each output of a package manager that failed. */
const MAX_OUTPUT_BYTES = 4_096;

export const installResult = z.strictObject({
  installed: z.boolean(),
  packages: z
    .array(
      z.strictObject({
        purl: z.string(),
        version: z.string(),
        requested: z.boolean().describe("Else another needs it."),
        integrity: z.string().optional().describe("As the registry promises it."),
        sha256: z.string(),
        registry: z.string(),
        ageHours: z.number().optional(),
        cached: z.boolean(),
      }),
    )
    .describe(`What was fetched, the requested ones first; at most ${MAX_NAMED}.`),
  fetched: z.number().describe("How many in all."),
  refusals: z.array(
    z.strictObject({
      name: z.string(),
      version: z.string().optional(),
      reason: z.string(),
      policies: z.array(z.string()),
    }),
  ),
  exitCode: z.number().optional(),
  endedBy: z.enum(ENDED_BY).optional(),
  output: z.string().optional().describe("Of the package manager that failed."),
  hint: z.string().optional(),
  blocked: z.array(z.string()).optional().describe("Connections refused meanwhile, and why."),
});

export interface Installation {
  readonly args: { readonly ecosystem: EcosystemName; readonly packages: readonly unknown[] };
  readonly refused: readonly Refused[];
  readonly admitted: readonly Admitted[];
  readonly blocked: readonly string[];
  /** `undefined` when nothing was run. */
  readonly end: Installed | undefined;
}

export function installOutcome({
  args,
  refused,
  admitted,
  blocked,
  end,
}: Installation): Outcome<z.output<typeof installResult>> {
  const failed = end && "failed" in end ? end.failed : undefined;
  const installed = end !== undefined && failed === undefined;
  const fetched = distinct(admitted);
  const packages = fetched.toSorted((a, b) => Number(b.requested) - Number(a.requested)).slice(0, MAX_NAMED);
  const refusals = refused.slice(0, MAX_REFUSALS);
  const output = failed && outputOf(failed);
  const hint = end && "note" in end ? end.note : undefined;
  const result = {
    installed,
    packages: packages.map(packageResult),
    fetched: fetched.length,
    refusals: refusals.map(refusalResult),
    ...present({ exitCode: failed?.end?.exitCode, endedBy: failed?.end?.endedBy, output, hint }),
    ...(blocked.length > 0 && { blocked: [...blocked] }),
  };
  const asked = `${args.packages.length} ${args.ecosystem} package${args.packages.length > 1 ? "s" : ""}`;
  const head = installed ? `installed ${asked}` : `NOT installed: ${asked}`;
  const text = [
    failed ? `${head}; ${oneLine(failed.spec.argv[0], 200)}: ${headline(stateOf(failed))}` : head,
    ...(installed && fetched.length === 0 ? ["Nothing had to be fetched: the sandbox has all of it."] : []),
    ...packages.map(packageLine),
    ...(fetched.length > packages.length ? [`and ${fetched.length - packages.length} more`] : []),
    ...(refusals.length > 0 ? ["refused:", ...refusals.map(refusalLine)] : []),
    ...[output, hint].filter((it) => it !== undefined),
    ...blocked,
  ].join("\n");
  const { packages: named, output: _body, hint: _hint, ...kept } = result;
  return { result, text, facts: { ...kept, packages: named.map((it) => it.purl) } };
}

function outputOf({ stdout, stderr }: Process): string {
  return streams(stdout.excerpt(MAX_OUTPUT_BYTES).text, stderr.excerpt(MAX_OUTPUT_BYTES).text).join("\n");
}

/** Each file once: one that came by two attempts is one. */
function distinct(admitted: readonly Admitted[]): readonly Admitted[] {
  return [...new Map(admitted.map((it) => [`${it.purl} ${it.sha256}`, it])).values()];
}

function packageResult({ purl, version, requested, integrity, sha256, registry, ageHours, cached }: Admitted) {
  return { purl, version, requested, sha256, registry, cached, ...present({ integrity, ageHours }) };
}

function packageLine({ purl, requested, ageHours, cached }: Admitted): string {
  const age = ageHours === undefined ? "of unknown age" : ageText(ageHours);
  return `- ${purl} (${age}${requested ? "" : ", needed by another"}${cached ? ", from the host's cache" : ""})`;
}

function ageText(hours: number): string {
  return hours < 96 ? `${hours} hours old` : `${Math.floor(hours / 24)} days old`;
}
