import { lookup as lookUpName } from "node:dns/promises";
import { once } from "node:events";
import { connect, isIP, type Socket } from "node:net";
import { GatewayError } from "../errors.ts";
import { abortable } from "../lib/deadline.ts";
import { codeOf } from "../lib/error.ts";
import type { Egress } from "../policy/egress.ts";
import { canonicalAddress } from "../policy/host.ts";
import { isWithin, refusedAddress } from "./floor.ts";
import type { TunnelThrough } from "./upstream-proxy.ts";

const DIAL_TIMEOUT_MS = 20_000;

/** A connection that was not made, because of where it leads. */
export class BelowFloor extends Error {}

export interface Dialled {
  readonly socket: Socket;
  /** Absent when an upstream proxy looked the name up. */
  readonly address?: string;
}

/**
 * Connects to a host in its one spelling.
 * @throws BelowFloor, or GatewayError CONNECTION_FAILED when nobody answers; the signal's reason when aborted
 */
export type Dial = (host: string, port: number, signal: AbortSignal) => Promise<Dialled>;

export interface DialPorts {
  /** As it is now. */
  readonly egress: () => Pick<Egress, "private" | "hosts">;
  /** Present when the network's only way out is a proxy. */
  readonly upstream?: TunnelThrough;
  /** Addresses of a name; by default the operating system's word. */
  readonly lookup?: (host: string) => Promise<readonly string[]>;
}

/** A name's addresses are looked up here and nowhere else; the one that is connected to is one of those that were checked. */
export function createDial({ egress, upstream, lookup = lookUp }: DialPorts): Dial {
  return async (host, port, signal) => {
    const patience = AbortSignal.any([signal, AbortSignal.timeout(DIAL_TIMEOUT_MS)]);
    const { hosts, private: granted } = egress();
    const addresses = await addressesOf(host, hosts, (it) => abortable(lookup(it), patience)).catch((cause) => {
      signal.throwIfAborted();
      // Behind a proxy names need not be known here; it looks this one up.
      if (upstream) return [];
      throw new GatewayError("CONNECTION_FAILED", `there is no host \`${host}\` (${whyOf(cause)})`, { cause });
    });
    const allowed = aboveFloor(host, addresses, granted);
    let socket: Socket | undefined;
    try {
      if (upstream) return { socket: await upstream(host, port, patience) };
      socket = connect({
        host,
        port,
        noDelay: true,
        autoSelectFamily: true,
        lookup: (_host, _options, done) => done(null, allowed.map(asFound)),
      });
      // Whoever holds it also listens; an error between two holders must not end the gateway.
      socket.on("error", () => undefined);
      // Not the socket's own signal: it would end the connection when the time to make it is over.
      await once(socket, "connect", { signal: patience });
      const address = socket.remoteAddress ?? "";
      // Holds by construction; what was checked and what was connected to must never part.
      if (!allowed.includes(canonicalAddress(address))) {
        throw new BelowFloor(`it was connected to ${address}, which was not checked`);
      }
      return { socket, address };
    } catch (cause) {
      socket?.destroy();
      signal.throwIfAborted();
      if (cause instanceof BelowFloor || cause instanceof GatewayError) throw cause;
      throw new GatewayError("CONNECTION_FAILED", `\`${host}:${port}\` does not answer (${whyOf(cause)})`, { cause });
    }
  };
}

async function addressesOf(
  host: string,
  hosts: Egress["hosts"],
  lookup: NonNullable<DialPorts["lookup"]>,
): Promise<readonly string[]> {
  if (isIP(host) !== 0) return [host];
  const fixed = Object.hasOwn(hosts, host) ? hosts[host] : undefined;
  return fixed === undefined ? (await lookup(host)).map(canonicalAddress) : [fixed];
}

async function lookUp(host: string): Promise<string[]> {
  return (await lookUpName(host, { all: true, order: "verbatim" })).map((it) => it.address);
}

/** @throws BelowFloor when none is left */
function aboveFloor(host: string, addresses: readonly string[], exempt: Egress["private"]): string[] {
  const refusals: string[] = [];
  const allowed = addresses.filter((address) => {
    const reason = refusedAddress(address);
    if (reason === undefined || exempt.some(({ pattern }) => isExempt(pattern, host, address))) return true;
    refusals.push(`${address}: ${reason}`);
    return false;
  });
  const [first] = refusals;
  if (allowed.length === 0 && first !== undefined) throw new BelowFloor(first);
  return allowed;
}

function isExempt(pattern: Egress["private"][number]["pattern"], host: string, address: string): boolean {
  if (pattern.kind === "exact") return pattern.host === host;
  return pattern.kind === "range" && isWithin(address, pattern.cidr);
}

function asFound(address: string): { address: string; family: 4 | 6 } {
  return { address, family: address.includes(":") ? 6 : 4 };
}

function whyOf(error: unknown): string {
  if (error instanceof AggregateError) return whyOf(error.errors[0]);
  if (!(error instanceof Error)) return "unknown";
  if (error.name === "TimeoutError" || error.name === "AbortError") return "timed out";
  return codeOf(error) ?? "failed";
}
