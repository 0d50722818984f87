import { isDeepStrictEqual } from "node:util";
import { commonHosts } from "./merge-hosts.ts";
import type { Secret } from "./secret.ts";

/** Secrets that both layers have, each for the hosts that both bind it to; where its value is, and where it may stand, the outer one says. */
export function mergeSecrets(outer: readonly Secret[], inner: readonly Secret[]) {
  const notes = inner
    .filter(({ name }) => !outer.some((it) => it.name === name))
    .map(({ name }) => `the secret ${name} does not hold: no secret is called so further out`);
  const value = outer.flatMap((secret): Secret[] => {
    const { name, source, refreshMs, present } = secret;
    const other = inner.find((it) => it.name === name);
    if (!other) return [];
    const hosts = commonHosts(secret.hosts, other.hosts);
    if (hosts.length === 0) {
      notes.push(`the secret ${name} does not hold: the layers bind it to different hosts`);
      return [];
    }
    if (!isDeepStrictEqual(source, other.source)) notes.push(`another source of the secret ${name} does not hold`);
    if (present && other.present && !isDeepStrictEqual(present, other.present)) {
      notes.push(`another place for the secret ${name} in requests does not hold`);
    }
    const place = present ?? other.present;
    return [{ name, source, refreshMs: Math.min(refreshMs, other.refreshMs), hosts, ...(place && { present: place }) }];
  });
  return { value, notes };
}
