import { asJson } from "./audit/as-json.ts";
import type { AuditWriter } from "./audit/record.ts";
import { asGatewayError } from "./errors.ts";
import type { Logger } from "./log.ts";
import type { PolicyHolder } from "./policy/in-force.ts";
import type { Policy } from "./policy/layer.ts";
import type { Kit, Kits } from "./session-kit.ts";

export interface LivePolicyPorts {
  readonly makeKit: Kits["make"];
  readonly audit: AuditWriter;
  readonly log: Logger;
}

/** What sessions are made with under the policy in force. Both are replaced at once. */
export interface LivePolicy extends AsyncDisposable {
  readonly kit: Kit;
  /**
   * Puts what `load` resolves with into force, when it is another policy; one that can't be had leaves the old one in force. Both are on
   * record. Replacements come one after the other. Never rejects.
   */
  replace(load: () => Promise<Policy>): Promise<void>;
  /** Puts it on record that another policy could not be had. */
  failed(error: unknown): void;
}

export async function livePolicy(holder: PolicyHolder, { makeKit, audit, log }: LivePolicyPorts): Promise<LivePolicy> {
  let kit = await makeKit(holder.current);
  let last: Promise<void> = Promise.resolve();
  /** The latest failure, which is told once. */
  let failed = "";

  async function replace(load: () => Promise<Policy>): Promise<void> {
    const { current } = holder;
    try {
      const next = await load();
      failed = "";
      if (next.identity.digest === current.identity.digest) return;
      const isSame = isSameMake(next, current);
      const fresh = isSame ? kit : await makeKit(next);
      const facts = { bundle: asJson(next.identity), previous: asJson(current.identity) };
      try {
        await audit.append({ kind: "event", event: "policy-loaded", facts });
      } catch (error) {
        if (!isSame) await end(fresh);
        throw error;
      }
      // INVARIANT: nothing is awaited between the two: no session is made by one policy and decided by another.
      const old = kit;
      kit = fresh;
      tell(next);
      log.info({ ...next.identity, previous: current.identity.digest }, "another policy is in force");
      if (!isSame) await end(old);
    } catch (error) {
      await rejected(error);
    }
  }

  /** It is in force, whatever those do who are told. */
  function tell(next: Policy): void {
    try {
      holder.replace(next);
    } catch (error) {
      log.error({ err: error }, "a change of policy was not carried out everywhere");
    }
  }

  /** Which policy is in force is not for what waited ready under another to say. */
  async function end(unused: Kit): Promise<void> {
    try {
      await unused[Symbol.asyncDispose]();
    } catch (error) {
      log.error({ err: error }, "what a policy's sessions were to be made with did not end cleanly");
    }
  }

  async function rejected(error: unknown): Promise<void> {
    const { code, message } = asGatewayError(error);
    // Of a gateway that ends, no policy was refused.
    if (code === "SHUTTING_DOWN" || message === failed) return;
    failed = message;
    const inForce = asJson(holder.current.identity);
    log.error({ code, err: error }, "the policy was not replaced");
    await audit
      .append({ kind: "event", event: "policy-rejected", facts: { code, message, inForce } })
      .catch((cause: unknown) => log.error({ err: cause }, "event not recorded"));
  }

  return {
    get kit() {
      return kit;
    },
    replace: (load) => {
      last = last.then(() => replace(load));
      return last;
    },
    failed: (error) => {
      last = last.then(() => rejected(error));
    },
    [Symbol.asyncDispose]: async () => {
      await last;
      await kit[Symbol.asyncDispose]();
    },
  };
}

/** Whether both make the same sandboxes, for the same trust domain. */
function isSameMake(a: Policy, b: Policy): boolean {
  const shape = ({ identity, profile }: Policy) => JSON.stringify([identity.name, profile, pinsOf(profile)]);
  return shape(a) === shape(b);
}

/** JSON knows no maps. */
function pinsOf({ packages }: Policy["profile"]): unknown {
  return packages && [[...packages.pin], [...packages.minimumAgeHours.own]];
}
