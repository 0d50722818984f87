import fc from "fast-check";
import { expect, test } from "vitest";
import { decide, policyOf } from "../../src/policy/decide.ts";
import { argvFacts } from "../../src/policy/facts.ts";
import { LAYERS, type PolicyLayer } from "../../src/policy/layer.ts";
import { profileSchema } from "../../src/policy/profile.ts";
import type { PolicyRequest } from "../../src/policy/request.ts";
import { layerOf } from "../support/bundle.ts";

const principal = { id: "local:ada", client: { name: "c", version: "1" }, transport: "stdio" as const };
const exec = (argv: readonly string[]): PolicyRequest => ({
  principal,
  action: "exec",
  resource: { type: "session", id: "s" },
  context: {
    ...argvFacts(argv),
    cwd: "/workspace",
    envNames: [],
    stdinBytes: 0,
    background: false,
    terminal: false,
    timeoutMs: 0,
  },
});

const EXEC = 'principal, action == Glovebox::Action::"exec", resource';
const TEXTS = [
  `@id("p1") permit (${EXEC});`,
  `@id("p2") permit (${EXEC}) when { context.argv0 == "a" };`,
  `@id("f1") @reason("r") forbid (${EXEC}) when { context.argv0 == "b" };`,
  `@id("f2") @reason("r") forbid (${EXEC}) when { context.argc > 2 };`,
  `@id("a1") @outcome("ask") @reason("r") forbid (${EXEC}) when { context.argvPrefixes.contains("[\\"a\\",\\"b\\"]") };`,
  `@id("a2") @outcome("ask") @channels("slack") @reason("r") forbid (${EXEC}) when { context.argc == 1 };`,
  `@id("s1") @mode("shadow") @reason("r") forbid (${EXEC});`,
  // It overflows when there are two arguments or more: an evaluation error denies.
  `@id("o1") @reason("r") forbid (${EXEC}) when { context.argc * 9223372036854775807 < 0 };`,
] as const;

const requests = fc.array(fc.constantFrom("a", "b"), { minLength: 1, maxLength: 3 }).map(exec);
const bundles = fc.subarray([...TEXTS], { minLength: 1 });
const lists = fc
  .tuple(fc.subarray([...LAYERS], { minLength: 1 }), fc.array(bundles, { minLength: 4, maxLength: 4 }))
  .map(([names, texts]) => names.map((name, at) => layerOf(name, texts[at] ?? [])));

const STRICTNESS = ["permit", "ask", "deny"];
const profile = profileSchema.parse({});
const outcomeOf = (layers: readonly PolicyLayer[], request: PolicyRequest) =>
  decide(policyOf(layers, profile), request).outcome;

test("another layer never turns a denial into a permit or a question, nor a question into a permit [G27]", () => {
  fc.assert(
    fc.property(lists, requests, fc.nat(3), (layers, request, removed) => {
      const fewer = layers.filter((_, at) => at !== removed % layers.length);
      if (fewer.length === 0) return;
      const [before, after] = [outcomeOf(fewer, request), outcomeOf(layers, request)];
      expect(STRICTNESS.indexOf(after)).toBeGreaterThanOrEqual(STRICTNESS.indexOf(before));
    }),
    { numRuns: 60 },
  );
});

test("what layers decide together is the strictest of what each decides alone [G27]", () => {
  fc.assert(
    fc.property(lists, requests, (layers, request) => {
      const alone = layers.map((it) => STRICTNESS.indexOf(outcomeOf([it], request)));
      expect(STRICTNESS.indexOf(outcomeOf(layers, request))).toBe(Math.max(...alone));
    }),
    { numRuns: 60 },
  );
});

test("layers in shadow mode change no decision, its policies or its channels", () => {
  fc.assert(
    fc.property(lists, bundles, requests, (layers, texts, request) => {
      const shadow = layerOf("organisation", texts, { mode: "shadow" });
      const { shadow: _, bundle: __, ...decision } = decide(policyOf(layers, profile), request);
      const { shadow: ___, bundle: ____, ...same } = decide(policyOf([shadow, ...layers], profile), request);
      // Beside another layer, each policy says where it stands.
      const unplaced = (it: typeof decision) => ({ ...it, policies: it.policies.map(({ layer, ...rest }) => rest) });
      const plain = (it: typeof decision) => ({
        ...unplaced(it),
        problems: it.problems.map((text) => text.replace(/^(organisation|team|project|user): /, "")),
      });
      expect(plain(same)).toEqual(plain(decision));
    }),
    { numRuns: 60 },
  );
  const nothing = policyOf([layerOf("user", TEXTS[0], { mode: "shadow" })], profile);
  expect(decide(nothing, exec(["a"])).outcome).toBe("deny");
});

test("what would be decided without shadow mode is said of the whole: a layer that would permit lifts no other's denial", () => {
  const loosening = layerOf("organisation", `@id("s") @mode("shadow") permit (${EXEC});`);
  const wouldOf = (other: string | readonly string[]) => {
    const { outcome, shadow } = decide(policyOf([loosening, layerOf("user", other)], profile), exec(["a"]));
    return { outcome, would: shadow?.map((it) => it.would) };
  };
  expect(wouldOf(TEXTS[0])).toEqual({ outcome: "deny", would: ["permit"] });
  expect(wouldOf(TEXTS[2])).toEqual({ outcome: "deny", would: undefined });
  expect(wouldOf([TEXTS[0], TEXTS[5]])).toEqual({ outcome: "deny", would: ["ask"] });
});
