import { createHash } from "node:crypto";
import { z } from "zod";
import { MAX_PREFIXES } from "../facts.ts";
import type { PastDecision } from "../past.ts";
import { placeCondition, workingPlaces } from "./places.ts";
import { cedarSet, cedarString } from "./quote.ts";
import { FEW, grouped, type LearnedTest, type LeftOut, type Lesson, type Rule, unique } from "./rule.ts";

/** What `exec` and `shell` have in common. */
const run = {
  cwd: z.string(),
  envNames: z.array(z.string()),
  stdinBytes: z.int(),
  terminal: z.boolean(),
};
const execFacts = z.object({ ...run, argv0: z.string(), argvPrefixes: z.array(z.string()), argc: z.int() });
const shellFacts = z.object({ ...run, scriptSha256: z.string() });
type RunFacts = Pick<z.infer<typeof execFacts>, keyof typeof run>;

interface Run<Facts extends RunFacts> {
  readonly decision: PastDecision;
  readonly facts: Facts;
}

/** Programs by their whole argv; of many calls of one subcommand, by what their argvs begin with. */
export function learnPrograms(decisions: readonly PastDecision[]): Lesson {
  const leftOut: LeftOut[] = [];
  const runs: (Run<z.infer<typeof execFacts>> & { readonly argv: readonly string[] })[] = [];
  for (const decision of decisions) {
    const facts = execFacts.parse(decision.request.context);
    const argv = argvOf(facts.argvPrefixes);
    // A condition about less would hold for programs that nobody has seen: an agent could choose what is cut.
    if (argv.length < Math.min(facts.argc, MAX_PREFIXES)) {
      leftOut.push({ decision, why: "its arguments are longer than policy sees" });
    } else runs.push({ decision, facts, argv });
  }
  const rules = circumstances(runs).map(([, same], index): Rule => {
    const arrays = grouped(same, ({ argv }) => JSON.stringify(argv.slice(0, 2)));
    const parts = arrays.flatMap(([, alike]) => shapesOf(alike));
    const whole = grouped(
      parts.filter((it) => it.argc !== undefined),
      (it) => String(it.argc).padStart(6, "0"),
    ).map(([argc, its]) => `(context.argc == ${Number(argc)} && ${anyPrefix(its.map((it) => it.prefix))})`);
    const begun = parts.filter((it) => it.argc === undefined).map((it) => it.prefix);
    const shapes = [...whole, ...(begun.length > 0 ? [anyPrefix(begun)] : [])];
    const long = same.some(({ facts }) => facts.argc > MAX_PREFIXES);
    return {
      id: `exec-${index + 1}`,
      remarks: [
        ...(begun.length > 0 ? ["where many calls began alike, everything that begins so is permitted"] : []),
        ...(long ? [`of an argv, policy sees the first ${MAX_PREFIXES} arguments: what follows is only counted`] : []),
        ...stdinRemark(same),
      ],
      head: 'action == Glovebox::Action::"exec", resource',
      conditions: [shapes.length === 1 ? shapes.join("") : `(\n    ${shapes.join(" ||\n    ")}\n  )`, ...around(same)],
      calls: same.length,
      tests: same
        .filter(({ argv, facts }) => argv.length === facts.argc)
        .map(({ argv, facts }) => ({ tool: "exec", arguments: { argv, ...argumentsOf(facts) } })),
    };
  });
  return { rules, leftOut };
}

/** Scripts by their digest: what else a script could do, nobody can tell. */
export function learnScripts(decisions: readonly PastDecision[]): Lesson {
  const leftOut: LeftOut[] = [];
  const runs = decisions.flatMap((decision) => {
    if (!decision.assumed.includes("digest")) return [{ decision, facts: shellFacts.parse(decision.request.context) }];
    // By a keyed digest no policy can name it.
    leftOut.push({ decision, why: "the log does not have its script whole, and no digest that a policy could name" });
    return [];
  });
  const rules = circumstances(runs).map(
    ([, same], index): Rule => ({
      id: `shell-${index + 1}`,
      remarks: [
        "exactly these scripts; read them before you permit them:",
        ...unique(same.map((it) => `${it.facts.scriptSha256} ${scriptOf(it) ?? "(the log does not have it whole)"}`)),
        ...stdinRemark(same),
      ],
      head: 'action == Glovebox::Action::"shell", resource',
      conditions: [
        `${cedarSet(same.map(({ facts }) => cedarString(facts.scriptSha256)))}.contains(context.scriptSha256)`,
        ...around(same),
      ],
      calls: same.length,
      tests: same.flatMap((it): LearnedTest[] => {
        const script = scriptOf(it);
        return script === undefined ? [] : [{ tool: "shell", arguments: { script, ...argumentsOf(it.facts) } }];
      }),
    }),
  );
  return { rules, leftOut };
}

/** Those that were run alike: with the same variables, in a terminal or not, with input or without, and in the same place while these are few. */
function circumstances<T extends Run<RunFacts>>(runs: readonly T[]): [string, readonly T[]][] {
  const isFew = unique(runs.map(({ facts }) => facts.cwd)).length <= FEW;
  return grouped(runs, ({ facts: { envNames, terminal, stdinBytes, cwd } }) =>
    JSON.stringify([unique(envNames), terminal, stdinBytes > 0, isFew ? cwd : ""]),
  );
}

function around(runs: readonly Run<RunFacts>[]): string[] {
  const [first] = runs;
  if (!first) return [];
  const { envNames, terminal, stdinBytes } = first.facts;
  const names = cedarSet(envNames.map(cedarString));
  return [
    placeCondition("context.cwd", workingPlaces(runs.map(({ facts }) => facts.cwd))),
    envNames.length === 0 ? "context.envNames.isEmpty()" : `${names}.containsAll(context.envNames)`,
    ...(terminal ? [] : ["!context.terminal"]),
    ...(stdinBytes > 0 ? [] : ["context.stdinBytes == 0"]),
  ];
}

function stdinRemark(runs: readonly Run<RunFacts>[]): string[] {
  const fed = runs.some(({ facts }) => facts.stdinBytes > 0 || facts.terminal);
  return fed ? ["it got input, of which policy sees the size alone: any input is permitted"] : [];
}

interface Shape {
  /** JSON, as in `argvPrefixes`. */
  readonly prefix: string;
  /** Of a whole argv. */
  readonly argc?: number;
}

/** `alike` begin with the same two arguments. Behind an option instead of a subcommand stands what is to be done: each by itself. */
function shapesOf(
  alike: readonly { readonly argv: readonly string[]; readonly facts: { readonly argc: number } }[],
): Shape[] {
  const whole = new Map(
    alike.map(({ argv, facts }) => {
      const prefix = JSON.stringify(argv);
      return [`${facts.argc} ${prefix}`, { prefix, argc: facts.argc }];
    }),
  );
  const [first] = alike;
  const [, subcommand = "-"] = first?.argv ?? [];
  if (!first || whole.size <= FEW || subcommand.startsWith("-")) return [...whole.values()];
  const length = first.argv.findIndex((it, at) => alike.some(({ argv }) => argv[at] !== it));
  const begun = length === -1 ? first.argv : first.argv.slice(0, length);
  if (begun.at(-1)?.startsWith("-")) return [...whole.values()];
  return [{ prefix: JSON.stringify(begun) }];
}

function anyPrefix(prefixes: readonly string[]): string {
  return `context.argvPrefixes.containsAny(${cedarSet(prefixes.map(cedarString))})`;
}

function argvOf(prefixes: readonly string[]): readonly string[] {
  const longest = prefixes.at(-1);
  return longest === undefined ? [] : z.array(z.string()).parse(JSON.parse(longest));
}

function argumentsOf({ cwd, envNames, terminal, stdinBytes }: RunFacts): object {
  return {
    cwd,
    ...(envNames.length > 0 && { env: Object.fromEntries(envNames.map((it) => [it, "x"])) }),
    ...(terminal && { terminal }),
    ...(stdinBytes > 0 && { stdin: "x" }),
  };
}

/** INVARIANT: what is shown is what the digest is of. */
function scriptOf({ decision, facts }: Run<z.infer<typeof shellFacts>>): string | undefined {
  const script = z.object({ script: z.string() }).safeParse(decision.arguments).data?.script ?? "";
  return createHash("sha256").update(script).digest("hex") === facts.scriptSha256 ? script : undefined;
}
