import type { Bundle } from "../bundle.ts";
import { evaluate } from "../evaluate.ts";
import type { Principal } from "../request.ts";
import type { Describe } from "../tests.ts";
import type { LearnedTest } from "./rule.ts";

/** More would make the loading of the bundle slow: each is a decision. */
const MAX_TESTS = 200;

/** What nobody asked for. */
const NEIGHBOURS: readonly (LearnedTest & { readonly name: string })[] = [
  { name: "another program", tool: "exec", arguments: { argv: ["glovebox-was-not-recorded"] } },
  { name: "another script", tool: "shell", arguments: { script: "glovebox-was-not-recorded" } },
  {
    name: "a file of the system",
    tool: "writeFile",
    arguments: { path: "/etc/glovebox-was-not-recorded", content: "" },
  },
  { name: "everything there is", tool: "listDirectory", arguments: { path: "/" } },
  { name: "another host", tool: "connect", arguments: { host: "was-not-recorded.example.org" } },
];

const TESTER: Principal = { id: "local:test", client: { name: "policy-test", version: "1" }, transport: "stdio" };

/** `tests.yaml`: what was recorded is permitted, and what is near it is not, but where just that was recorded. */
export function learnedTests(recorded: readonly LearnedTest[], bundle: Bundle, describe: Describe): object[] {
  const fits = recorded.filter(({ tool, arguments: args }) => "request" in describe(tool, args, TESTER));
  const once = [...new Map(fits.map((it) => [JSON.stringify(it), it])).values()].slice(0, MAX_TESTS);
  const permitted = once.map((it, index) => ({ name: `recorded call ${index + 1}`, ...it, expect: "permit" }));
  const denied = NEIGHBOURS.filter(({ tool, arguments: args }) => {
    const described = describe(tool, args, TESTER);
    return "request" in described && evaluate(bundle, described.request).outcome === "deny";
  });
  return [...permitted, ...denied.map(({ name, ...it }) => ({ name: `not recorded: ${name}`, ...it, expect: "deny" }))];
}
