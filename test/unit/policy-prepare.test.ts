import { setTimeout as sleep } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, test } from "vitest";
import type { Bundle } from "../../src/policy/bundle.ts";
import { evaluate } from "../../src/policy/evaluate.ts";
import { bundleOf } from "../support/bundle.ts";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

const PERMIT = 'permit (principal, action == Glovebox::Action::"resetSession", resource);';
const principal = { id: "local:ada", client: { name: "c", version: "1" }, transport: "stdio" as const };
const outcomeOf = (bundle: Bundle) =>
  evaluate(bundle, { principal, action: "resetSession", resource: { type: "session", id: "s" }, context: {} }).outcome;

/** Its policies under the same names in Cedar, with nobody who holds them. */
function released(text: string): Bundle {
  const bundle = bundleOf(text);
  expect(outcomeOf(bundle)).toBe("permit");
  return { ...bundle, sets: { ...bundle.sets } };
}

test("Cedar keeps a bundle's policies as long as somebody holds it, and not longer", async () => {
  const held = bundleOf(`@id("held")\n${PERMIT}`);
  const gone = released(`@id("gone")\n${PERMIT}`);
  await expect
    .poll(
      async () => {
        collect();
        await sleep(1);
        return outcomeOf(gone);
      },
      { timeout: 10_000 },
    )
    .toBe("deny");
  expect(outcomeOf(held)).toBe("permit");
  // What comes again is made again, and lives on although its forerunner has gone.
  const again = bundleOf(`@id("gone")\n${PERMIT}`);
  expect(outcomeOf(again)).toBe("permit");
  collect();
  await sleep(20);
  expect(outcomeOf(again)).toBe("permit");
  expect(bundleOf(`@id("held")\n${PERMIT}`).sets).toBe(held.sets);
});
