import { Transform } from "node:stream";
import type { Secret } from "../policy/secret.ts";
import { fillIn } from "./fill-in.ts";
import type { Target } from "./gate.ts";
import { pairs } from "./headers.ts";
import type { HttpTarget } from "./http-target.ts";
import { createMask, type Mask } from "./mask.ts";
import { createScanner, mintPlaceholders, ownerOf } from "./placeholders.ts";
import { placeholdersIn } from "./present.ts";
import { matchesHost } from "./secret-binding.ts";
import type { Secrets } from "./secret-cache.ts";

/** A request that would carry a placeholder, or a secret, where it must not go. The message holds no value. */
export class PlaceholderRefused extends Error {}

/** What one session has of secrets: placeholders in the sandbox, values on their way to where they belong. */
export interface SessionSecrets {
  /** Variables for the session's programs. */
  readonly environment: Readonly<Record<string, string>>;
  /** Whether one is bound to it: TLS has to end at the proxy. */
  isBoundTo(host: string): boolean;
  /**
   * The head of a request as it is to be sent on, with the names of the secrets in it.
   * @param headers a flat list of names and values
   * @throws PlaceholderRefused, GatewayError SECRET_UNAVAILABLE
   */
  fill(target: HttpTarget, method: string, headers: readonly string[], signal: AbortSignal): Promise<Filled>;
  /** What passes bytes on as long as there is no placeholder in them; then it tells, and fails. */
  watch(target: Target, onFound: (refusal: PlaceholderRefused) => void): readonly Transform[];
  /** For what a host answers that may know a value. */
  mask(host: string): Mask | undefined;
  /** A server that doesn't take a secret any more: it may have been replaced. */
  refused(names: readonly string[]): void;
}

export interface Filled {
  readonly path: string;
  readonly headers: readonly string[];
  readonly used: readonly string[];
}

/** With them a value could come back in a form, or in parts, in which it isn't recognised. */
const DISGUISES = /^(accept-encoding|range|if-range|sec-websocket-extensions)$/i;

interface SecretPorts {
  readonly values: Secrets;
  /** Those of the policy in force: one that is not as it was when the session was opened is not filled in any more. */
  readonly granted: () => readonly Secret[];
  readonly ending: AbortSignal;
}

export function createSessionSecrets(
  secrets: readonly Secret[],
  { values, granted, ending }: SecretPorts,
): SessionSecrets {
  const withdrawn = (found: readonly string[]) => {
    const now = new Set(granted().map((it) => JSON.stringify(it)));
    const names = found.map((it) => ownerOf(placeholders, it));
    return secrets.find((it) => names.includes(it.name) && !now.has(JSON.stringify(it)));
  };
  const placeholders = mintPlaceholders(secrets);
  const isBoundTo = (host: string) => secrets.some(({ hosts }) => hosts.some((it) => matchesHost(it.host, host)));
  return {
    environment: Object.fromEntries(placeholders),
    isBoundTo,
    fill: async (target, method, headers, signal) => {
      const head = { method, path: target.path, headers: pairs(headers) };
      const found = placeholdersIn(head);
      const [first] = found;
      const gone = withdrawn(found);
      if (gone) throw new PlaceholderRefused(`the policy in force does not grant the secret ${gone.name} any more`);
      if (first === undefined && !isBoundTo(target.host)) return { path: target.path, headers, used: [] };
      if (first !== undefined && target.scheme !== "https") {
        throw new PlaceholderRefused(`${named(ownerOf(placeholders, first))} is sent by HTTPS only`);
      }
      const filled = await fillIn(head, target, { secrets, placeholders, values }, signal);
      if (filled.kind === "refused") throw new PlaceholderRefused(filled.reason);
      const { request, used } = filled;
      const kept = request.headers.filter(([name]) => !DISGUISES.test(name));
      return { path: request.path, headers: [...kept.flat(), "Accept-Encoding", "identity"], used };
    },
    watch: ({ host }, onFound) => {
      if (secrets.length === 0) return [];
      const scanner = createScanner();
      const watching = new Transform({
        transform: (chunk: Buffer, _encoding, done) => {
          const [found] = scanner.push(chunk);
          if (found === undefined) return done(null, chunk);
          const name = named(ownerOf(placeholders, found));
          const why = isBoundTo(host) ? "stands in the body, where nothing is filled in" : `is not bound to ${host}`;
          const refusal = new PlaceholderRefused(`${name} ${why}`);
          onFound(refusal);
          return done(refusal);
        },
      });
      return [watching];
    },
    mask: (host) => (isBoundTo(host) ? createMask(values.values()) : undefined),
    refused: (names) => {
      // Failures are told where the values are read.
      for (const name of names) values.refresh(name, ending).catch(() => undefined);
    },
  };
}

function named(owner: string | undefined): string {
  return owner === undefined ? "a placeholder of another session" : `the secret ${owner}`;
}

/** Masks what passes; the length stays. */
export function masking(mask: Mask): Transform {
  const stream = mask.stream();
  return new Transform({
    transform: (chunk: Buffer, _encoding, done) => done(null, stream.push(chunk)),
    flush: (done) => done(null, stream.end()),
  });
}
