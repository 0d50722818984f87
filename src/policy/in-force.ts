import type { Policy, PolicyInForce } from "./layer.ts";

/** Holds the policy in force; who holds it may replace it. */
export interface PolicyHolder extends PolicyInForce {
  /** From the next decision on; listeners are told at once, one after the other. @throws what a listener threw, when all have been told */
  replace(policy: Policy): void;
}

export function holdPolicy(initial: Policy): PolicyHolder {
  let current = initial;
  const listeners = new Set<(policy: Policy) => void>();
  return {
    get current() {
      return current;
    },
    onChange: (listener) => {
      listeners.add(listener);
      return { [Symbol.dispose]: () => listeners.delete(listener) };
    },
    replace: (policy) => {
      current = policy;
      const failures: unknown[] = [];
      for (const listener of listeners) {
        try {
          listener(policy);
        } catch (error) {
          failures.push(error);
        }
      }
      if (failures.length > 0) throw new AggregateError(failures, "what a change of policy means was not carried out");
    },
  };
}
