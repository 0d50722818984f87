import type { Duplex } from "node:stream";
import { TLSSocket } from "node:tls";
import { settled, standingOf } from "../approval/settle.ts";
import { asGatewayError } from "../errors.ts";
import type { Logger } from "../log.ts";
import { readHost } from "../policy/host.ts";
import { isOpen } from "../policy/verdict.ts";
import type { AdmitPorts } from "./admit.ts";
import type { ClientHello } from "./client-hello.ts";
import { BelowFloor, type Dial } from "./dial.ts";
import { plainAnswer } from "./exchange.ts";
import type { Gate, Target } from "./gate.ts";
import { endSoon } from "./http-client.ts";
import { createFront } from "./http-front.ts";
import type { LocalSite } from "./local-site.ts";
import type { SessionAuthority } from "./session-authority.ts";
import type { SessionSecrets } from "./session-secrets.ts";
import { firstWords } from "./sniff.ts";
import { splice } from "./splice.ts";
import type { Upstream } from "./upstream.ts";

/** A handshake that a program doesn't finish is given up. */
const HANDSHAKE_MS = 20_000;
/** A spliced connection on which nothing moves. */
const IDLE_MS = 3_600_000;

export interface WayOutPorts extends AdmitPorts {
  readonly upstream: Upstream;
  readonly dial: Dial;
  readonly authority: () => Promise<SessionAuthority>;
  readonly secrets: SessionSecrets;
  readonly onExfiltration: () => void;
  readonly site: LocalSite | undefined;
  readonly log: Logger;
  readonly ending: AbortSignal;
}

/** What becomes of a connection of the sandbox. */
export interface WayOut extends Disposable {
  /** Takes it over; `opened` is what the program dialled, empty when that is the proxy. Never throws. */
  take(connection: Duplex, opened: { readonly host: string; readonly port: number }): void;
}

export function createWayOut(ports: WayOutPorts): WayOut {
  const { gate, traffic, log } = ports;

  /** To a host that the program has named, or an address: by CONNECT, or because it dialled it. */
  async function passOn(connection: Duplex, named: string, port: number, viaProxy: boolean): Promise<void> {
    const host = readHost(named)?.host;
    if (host === undefined) {
      refuse(connection, viaProxy, { host: named.slice(0, 100), port }, "it is neither a name nor an address");
      return;
    }
    await ports.site?.ready;
    if (viaProxy) {
      // What can't be permitted in any way is refused where a program can read why.
      const early = ports.site?.claims(host, port) ? undefined : earlyRefusal(gate, host, port);
      if (early) {
        refuse(connection, true, { host, port }, early.reason, early.policies);
        return;
      }
      connection.write("HTTP/1.1 200 Connection established\r\n\r\n");
    }
    const words = await firstWords(connection);
    switch (words.protocol) {
      case "none":
        connection.destroy();
        return;
      case "unknown":
        refuse(connection, false, { host, port }, words.reason);
        return;
      case "http":
        front.serve(connection, { host, port, scheme: "http" });
        return;
      case "tls":
        await passTls(connection, { host, port, scheme: "https" }, words.hello);
    }
  }

  async function passTls(connection: Duplex, target: Target, hello: ClientHello): Promise<void> {
    const problem = helloProblem(hello, target.host);
    if (problem !== undefined) {
      refuse(connection, false, target, problem);
      return;
    }
    const isRead = gate.readsRequests(target.host) && gate.mayPermit(target.host);
    if (isRead || ports.site?.claims(target.host, target.port)) {
      await terminate(connection, target);
      return;
    }
    const decide = () => gate.connection(target);
    const before = decide();
    const verdict = await settled(before, ports.ask, ports.ending);
    if (connection.destroyed) return;
    if (!verdict.permitted) {
      refuse(connection, false, target, verdict.reason, verdict.policies);
      return;
    }
    // Before anything is awaited: what policy denies by now is ended, also while it is put on record or connected.
    ports.standing.keep(connection, target, () => standingOf(before, decide()));
    const passage = await traffic.open(target, verdict);
    try {
      const { socket, address } = await ports.dial(target.host, target.port, ports.ending);
      if (address !== undefined) passage.reached(address);
      socket.setTimeout(IDLE_MS, () => socket.destroy());
      const end = () => {
        socket.destroy();
        passage.close();
      };
      connection.once("close", end);
      if (connection.destroyed) end();
      splice(connection, socket, passage);
    } catch (error) {
      passage.close();
      throw error;
    }
  }

  async function terminate(connection: Duplex, target: Target): Promise<void> {
    const authority = await ports.authority();
    const secureContext = await authority.contextFor(target.host);
    const secure = new TLSSocket(connection as never, { isServer: true, secureContext, ALPNProtocols: ["http/1.1"] });
    let isSecure = false;
    const late = setTimeout(() => secure.destroy(), HANDSHAKE_MS);
    secure.once("secure", () => {
      isSecure = true;
      clearTimeout(late);
    });
    secure.on("error", (error) => {
      if (!isSecure) traffic.refuse(target, handshakeProblem(error));
      secure.destroy();
    });
    secure.once("close", () => {
      clearTimeout(late);
      connection.destroy();
    });
    front.serve(secure, target);
  }

  function refuse(
    connection: Duplex,
    readsHttp: boolean,
    target: { readonly host: string; readonly port: number },
    reason: string,
    policies: readonly string[] = [],
  ): void {
    const text = traffic.refuse(target, reason, { policies });
    // access_denied, in a record as TLS 1.2 has it (RFC 8446 §6): most clients say so.
    endSoon(connection, readsHttp ? plainAnswer(403, text) : Buffer.from([21, 3, 3, 0, 2, 2, 49]));
  }

  function failed(error: unknown, connection: Duplex, target: { host: string; port: number }): void {
    if (ports.ending.aborted || connection.destroyed) {
      connection.destroy();
      return;
    }
    const failure = asGatewayError(error);
    if (failure.code === "INTERNAL" && !(error instanceof BelowFloor))
      log.error({ err: error }, "a connection was not carried");
    refuse(connection, false, target, error instanceof BelowFloor ? error.message : failure.message);
  }

  const start = (connection: Duplex, host: string, port: number, viaProxy: boolean) => {
    passOn(connection, host, port, viaProxy).catch((error: unknown) => failed(error, connection, { host, port }));
  };
  const front = createFront({ ...ports, onConnect: (connection, host, port) => start(connection, host, port, true) });

  return {
    take: (connection, { host, port }) => {
      connection.on("error", () => connection.destroy());
      if (host === "") front.serve(connection, undefined);
      else start(connection, host, port, false);
    },
    [Symbol.dispose]: () => front[Symbol.dispose](),
  };
}

/** Refusals that need no look at what the program sends. */
function earlyRefusal(gate: Gate, host: string, port: number) {
  if (gate.readsRequests(host) && gate.mayPermit(host)) return undefined;
  const secure = gate.connection({ host, port, scheme: "https" });
  if (isOpen(secure) || isOpen(gate.connection({ host, port, scheme: "http" }))) return undefined;
  return secure;
}

function helloProblem({ serverName, encrypted }: ClientHello, host: string): string | undefined {
  if (encrypted) return "its TLS hides the server's name (Encrypted Client Hello)";
  const isAddress = readHost(host)?.kind === "address";
  if (serverName === undefined) return isAddress ? undefined : "its TLS names no server";
  const named = readHost(serverName)?.host;
  return named === host
    ? undefined
    : `its TLS names another server, \`${serverName.replaceAll(/[^\w.-]/g, "?").slice(0, 100)}\``;
}

function handshakeProblem(error: Error & { code?: string }): string {
  const code = error.code ?? "";
  if (/UNKNOWN_CA|BAD_CERTIFICATE|CERTIFICATE_UNKNOWN/.test(code)) {
    return "the program does not trust the sandbox's own authority: it brings a list of its own, or pins the server's certificate";
  }
  if (/NO_APPLICATION_PROTOCOL|no_application_protocol/i.test(`${code} ${error.message}`)) {
    return "its requests are read, and the program speaks HTTP/2 only";
  }
  return `the TLS handshake failed${code === "" ? "" : ` (${code})`}`;
}
