import { z } from "zod";
import type { PastDecision } from "../past.ts";
import { directoryPlaces, filePlaces, placeCondition } from "./places.ts";
import { cedarSet, cedarString, entity } from "./quote.ts";
import { grouped, type LearnedTest, type Lesson, type Rule } from "./rule.ts";

/** Tools that act on a path, with arguments for a test. The first two look at all that lies below it. */
const TOOLS: Readonly<Record<string, { readonly directory?: true; readonly test: (path: string) => object }>> = {
  listDirectory: { directory: true, test: (path) => ({ path }) },
  searchFiles: { directory: true, test: (path) => ({ path, pattern: "x" }) },
  readFile: { test: (path) => ({ path }) },
  writeFile: { test: (path) => ({ path, content: "" }) },
  editFile: { test: (path) => ({ path, edits: [{ oldText: "a", newText: "b" }] }) },
};
const MOUNTS = ["importFiles", "exportFiles"];

export const FILE_TOOLS: readonly string[] = [...Object.keys(TOOLS), ...MOUNTS];

const mountFacts = z.object({
  mount: z.string(),
  mountPath: z.string(),
  overwrite: z.boolean().default(false),
  dryRun: z.boolean().default(false),
});

/** File tools by the directories that they were used in. */
export function learnFiles(decisions: readonly PastDecision[]): Lesson {
  const rules = grouped(decisions, (it) => it.request.action).flatMap(([action, its]) =>
    MOUNTS.includes(action) ? mountRules(action, its) : [pathRule(action, its)],
  );
  return { rules, leftOut: [] };
}

function pathRule(action: string, decisions: readonly PastDecision[]): Rule {
  const paths = decisions.flatMap(({ request: { resource } }) => (resource.type === "path" ? [resource.path] : []));
  const { directory, test = (path: string) => ({ path }) } = TOOLS[action] ?? {};
  const dryRun = decisions.every((it) => it.request.context["dryRun"] === true);
  return {
    id: action,
    remarks: [],
    head: headOf(action),
    conditions: [
      placeCondition("resource", (directory ? directoryPlaces : filePlaces)(paths)),
      ...(dryRun ? ["context.dryRun"] : []),
    ],
    calls: decisions.length,
    tests: paths.map(
      (path): LearnedTest => ({ tool: action, arguments: { ...test(path), ...(dryRun && { dryRun }) } }),
    ),
  };
}

/** One a mount: exactly the places of it that were seen. */
function mountRules(action: string, decisions: readonly PastDecision[]): Rule[] {
  const read = decisions.flatMap(({ request: { resource, context } }) =>
    resource.type === "path" ? [{ path: resource.path, ...mountFacts.parse(context) }] : [],
  );
  return grouped(read, (it) => it.mount).map(([mount, its], index) => {
    const dryRun = its.every((it) => it.dryRun);
    const overwrite = its.some((it) => it.overwrite);
    const exporting = action === "exportFiles";
    return {
      id: `${action}-${index + 1}`,
      remarks: ["profile.yaml must name the mount: the log does not say which folder it is"],
      head: headOf(action),
      conditions: [
        placeCondition("resource", filePlaces(its.map((it) => it.path))),
        `context.mount == ${cedarString(mount)}`,
        `${cedarSet(its.map((it) => entity("MountPath", it.mountPath)))}.contains(context.mountPath)`,
        ...(exporting && !overwrite ? ["!context.overwrite"] : []),
        ...(exporting && dryRun ? ["context.dryRun"] : []),
      ],
      calls: its.length,
      tests: [],
    };
  });
}

function headOf(action: string): string {
  return `action == ${entity("Action", action)}, resource`;
}
