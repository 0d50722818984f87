import canonicalize from "canonicalize";
import { stringify } from "yaml";
import { GatewayError } from "../../errors.ts";
import { assembleBundle, type Language, type LoadedBundle } from "../assemble.ts";
import { problemText } from "../bundle.ts";
import { CONNECT } from "../connect.ts";
import { evaluate } from "../evaluate.ts";
import { INSTALL_PACKAGE } from "../package.ts";
import type { PastDecision } from "../past.ts";
import { kindOf, wordsOf } from "../past-words.ts";
import type { PolicyRequest } from "../request.ts";
import { FILE_TOOLS, learnFiles } from "./files.ts";
import { type LearnedPackages, learnPackages } from "./packages.ts";
import { learnPrograms, learnScripts } from "./programs.ts";
import { remark } from "./quote.ts";
import { grouped, type LeftOut, type Lesson, ruleText } from "./rule.ts";
import { learnedTests } from "./tests.ts";
import { learnConnections, learnTools } from "./tools.ts";

const MAX_LISTED = 200;

/** Where it was learned from, in words. */
export interface Source {
  readonly log: string;
  readonly session: string;
  /** About what could not be read. */
  readonly notes: readonly string[];
}

export interface Learned {
  /** Names and texts of a bundle that is valid. */
  readonly files: ReadonlyMap<string, string>;
  readonly bundle: LoadedBundle;
  /** Permitted when it happened. */
  readonly permitted: number;
  /** Of them, what the bundle does not permit. */
  readonly leftOut: readonly LeftOut[];
}

/**
 * The narrowest bundle known that permits what was permitted of these decisions. What was denied, and what a person was asked about, is
 * listed in it and not permitted. Pure: the same decisions make the same bundle, whatever their order.
 * @throws GatewayError INVALID_ARGUMENTS when nothing was permitted that a policy could permit
 */
export function learn(recorded: readonly PastDecision[], source: Source, language: Language): Learned {
  const decisions = grouped(recorded, (it) => canonicalize(it.request) ?? "").flatMap(([, its]) => its);
  const { fit, leftOut: unfit } = sifted(
    decisions.filter((it) => it.decided === "permit"),
    language,
  );
  const { packages, ecosystems, leftOut: unnamed } = learnPackages(fit);
  const lessons = lessonsOf(fit, ecosystems);
  const rules = lessons.flatMap((it) => it.rules);
  const leftOut = [...unfit, ...unnamed, ...lessons.flatMap((it) => it.leftOut)];
  if (rules.length === 0 && !packages) {
    throw new GatewayError("INVALID_ARGUMENTS", "nothing is on record that was permitted and a policy could permit");
  }
  const head = headerOf(source, decisions.length);
  const refused = decisions.filter((it) => it.decided !== "permit");
  const cedar = [head, ...rules.map(ruleText), listing(refused, leftOut)].filter((it) => it !== "").join("\n");
  const files = new Map([
    [
      "bundle.yaml",
      `name: learned\nversion: 0.1.0\ndescription: A proposal made from recorded calls. A person has to edit it.\n`,
    ],
    ["learned.cedar", cedar],
    ["profile.yaml", profileText(packages)],
  ]);
  const draft = assembled(files, language);
  const tests = learnedTests(
    rules.flatMap((it) => it.tests),
    draft,
    language.describe,
  );
  files.set("tests.yaml", `# Made from the recorded calls.\n${yamlText(tests)}`);
  return { files, bundle: assembled(files, language), permitted: fit.length + unfit.length, leftOut };
}

/** What Glovebox's own words for a request can be relied on for. */
function sifted(decisions: readonly PastDecision[], language: Language): { fit: PastDecision[]; leftOut: LeftOut[] } {
  const fit: PastDecision[] = [];
  const leftOut: LeftOut[] = [];
  const any = assembled(EVERYTHING, language);
  for (const decision of decisions) {
    if (decision.assumed.includes("redacted")) leftOut.push({ decision, why: "a secret was cut out of it" });
    else if (hasForeign(decision.request)) leftOut.push({ decision, why: "it has characters that look like others" });
    else if (evaluate(any, decision.request).outcome === "permit") fit.push(decision);
    else leftOut.push({ decision, why: "it is no request that this version of Glovebox knows" });
  }
  return { fit, leftOut };
}

/** Cedar refuses names that could be taken for others, and text that a reader would see in another order: none are written. */
function hasForeign({ resource, context }: PolicyRequest): boolean {
  const texts = [resource, context].flatMap((it) => Object.values(it)).flat();
  return texts.some((it) => typeof it === "string" && /[^\x20-\x7e]/.test(it));
}

const EVERYTHING = new Map([
  ["bundle.yaml", "name: everything\nversion: 1.0.0\nnarrows: true\n"],
  ["everything.cedar", "permit (principal, action, resource);\n"],
]);

function lessonsOf(fit: readonly PastDecision[], inProfile: ReadonlySet<unknown>): Lesson[] {
  const of = (...actions: readonly string[]) => fit.filter((it) => actions.includes(it.request.action));
  const others = fit.filter(({ request: { action, resource, context } }) => {
    if (["exec", "shell", CONNECT, ...FILE_TOOLS].includes(action) || resource.type === "package") return false;
    // The profile's packages permit the tool.
    return action !== INSTALL_PACKAGE || !inProfile.has(context["ecosystem"]);
  });
  return [
    learnPrograms(of("exec")),
    learnScripts(of("shell")),
    learnFiles(of(...FILE_TOOLS)),
    learnTools(others),
    learnConnections(of(CONNECT)),
  ];
}

function assembled(files: ReadonlyMap<string, string>, language: Language): LoadedBundle {
  const checked = assembleBundle(files, new Map(), language);
  if (checked.valid) return checked.bundle;
  // It is made to be valid: this is a mistake in here.
  throw new GatewayError("INTERNAL", `a learned bundle is not valid:\n${checked.problems.map(problemText).join("\n")}`);
}

function headerOf({ log, session, notes }: Source, count: number): string {
  const lines = [
    "A proposal, made by `glovebox policy learn`; nobody has read it yet. Read each rule, remove what is too much,",
    "and say in your own words what the rest is for, before you use it.",
    `log: ${log}`,
    `session: ${session}, ${count} decisions`,
    ...notes,
  ];
  return `${lines.map((it) => `// ${remark(it)}\n`).join("")}`;
}

/** What is not permitted, for a person to decide about. */
function listing(refused: readonly PastDecision[], leftOut: readonly LeftOut[]): string {
  const lines = [
    ...counted(leftOut.map((it) => `${kindOf(it.decision)}: was permitted, and is left to you: ${it.why}`)),
    ...counted(refused.map((it) => `${wordsOf(it)}: ${it.decided === "ask" ? "a person was asked" : "was denied"}`)),
  ];
  if (lines.length === 0) return "";
  const rest = lines.length > MAX_LISTED ? [`... and ${lines.length - MAX_LISTED} more`] : [];
  return ["Not permitted by this bundle:", ...lines.slice(0, MAX_LISTED), ...rest]
    .map((it) => `// ${remark(it)}\n`)
    .join("");
}

function counted(lines: readonly string[]): string[] {
  return grouped(lines, (it) => it).map(([line, its]) => `${its.length} x ${line}`);
}

function profileText(packages: LearnedPackages | undefined): string {
  const note = "# The log does not say what shape the sandbox had (resources, mounts, secrets): add what was there.\n";
  if (!packages) return note;
  const ages = Object.keys(packages.minimumAgeHours).length > 1;
  const loose = ages || packages.unverified === "allow";
  const warning = "# Some of the packages were young, or had no digest: make this stricter again where you can.\n";
  return `${note}${loose ? warning : ""}${yamlText({ packages })}`;
}

/** INVARIANT: ASCII. Strings stand in double quotes, where what is not ASCII is escaped (YAML 1.2.2 §5.7). */
function yamlText(value: object): string {
  const text = stringify(value, {
    defaultStringType: "QUOTE_DOUBLE",
    defaultKeyType: "PLAIN",
    lineWidth: 0,
    aliasDuplicateObjects: false,
  });
  return text.replace(/[^\n\x20-\x7e]/gu, (it) => `\\U${(it.codePointAt(0) ?? 0).toString(16).padStart(8, "0")}`);
}
