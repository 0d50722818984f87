import { expect, test } from "vitest";
import type { RecordBody } from "../../src/audit/record.ts";
import { GatewayError } from "../../src/errors.ts";
import { livePolicy } from "../../src/live-policy.ts";
import { createLog } from "../../src/log.ts";
import { policyOf } from "../../src/policy/decide.ts";
import { holdPolicy } from "../../src/policy/in-force.ts";
import type { Policy } from "../../src/policy/layer.ts";
import type { Kit } from "../../src/session-kit.ts";
import { layerOf } from "../support/bundle.ts";

const PERMIT = 'permit (principal, action == Glovebox::Action::"exec", resource);';

/** The shape is another for each `pids`. */
function policyWith(pids: number): Policy {
  const layer = layerOf("user", `@reason("${pids}")\n${PERMIT}`, { stated: { resources: { pids } } });
  return policyOf([layer], layer.bundle.profile);
}

interface Trouble {
  audit?: Error;
  disposal?: Error;
}

async function stand() {
  const trouble: Trouble = {};
  const records: RecordBody[] = [];
  const ended: number[] = [];
  const makeKit = async ({ profile }: Policy): Promise<Kit> => {
    const dispose = async () => {
      ended.push(profile.resources.pids);
      if (trouble.disposal) throw trouble.disposal;
    };
    const unused = () => Promise.reject(new Error("not here"));
    return {
      profile,
      openSandbox: unused,
      restoreSandbox: unused,
      openEgress: () => {
        throw new Error("not here");
      },
      [Symbol.asyncDispose]: dispose,
    };
  };
  const audit = {
    append: async (body: RecordBody) => {
      if (trouble.audit) throw trouble.audit;
      records.push(body);
    },
  };
  const holder = holdPolicy(policyWith(100));
  const live = await livePolicy(holder, { makeKit, audit, log: createLog("silent") });
  const events = () => records.map((it) => (it.kind === "event" ? it.event : it.kind));
  return { trouble, events, ended, holder, live };
}

test("a policy whose coming into force can't be recorded stays out, and leaves nothing behind", async () => {
  const { trouble, ended, holder, live } = await stand();
  const before = holder.current;
  trouble.audit = new GatewayError("AUDIT_UNWRITABLE");
  await live.replace(async () => policyWith(200));
  expect(holder.current).toBe(before);
  expect(live.kit.profile.resources.pids).toBe(100);
  expect(ended).toEqual([200]);
});

test("what waited ready under the old policy may end badly: the new one is in force, and no record says otherwise", async () => {
  const { trouble, events, ended, holder, live } = await stand();
  trouble.disposal = new Error("a machine is left");
  await live.replace(async () => policyWith(200));
  expect(holder.current.profile.resources.pids).toBe(200);
  expect(ended).toEqual([100]);
  expect(events()).toEqual(["policy-loaded"]);
});

test("a failure is on record once, and what is cut off by the end is none", async () => {
  const { events, live } = await stand();
  const failing = (error: Error) => live.replace(() => Promise.reject(error));
  await failing(new GatewayError("POLICY_INVALID", "bad"));
  await failing(new GatewayError("POLICY_INVALID", "bad"));
  expect(events()).toEqual(["policy-rejected"]);
  await failing(new GatewayError("SHUTTING_DOWN"));
  expect(events()).toEqual(["policy-rejected"]);
});
