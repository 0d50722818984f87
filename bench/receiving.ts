import { fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SinkPorts } from "../src/audit/sinks/sink.ts";
import { GatewayError } from "../src/errors.ts";
import { createOutbound } from "../src/lib/outbound.ts";
import { type Certificates, makeCertificates } from "../test/support/certificates.ts";
import { timed } from "./row.ts";
import type { Bare } from "./shipping.ts";

export interface Receiver extends Disposable {
  readonly port: number;
  readonly certificates: Certificates;
  readonly ports: SinkPorts;
  /** The bodies of requests that came since it was asked last. */
  taken(): Promise<Buffer[]>;
}

/** A receiver in a process of its own, which takes whatever it is sent. */
export async function startReceiver(kind: "https" | "tls"): Promise<Receiver> {
  const directory = mkdtempSync(join(tmpdir(), "glovebox-bench-receiver-"));
  const certificates = await makeCertificates(directory);
  const program = new URL("receiver.ts", import.meta.url).pathname;
  const files = [join(directory, "server.pem"), join(directory, "server.key")];
  const child = fork(program, [kind, ...files], { serialization: "advanced" });
  const died = once(child, "exit").then(() => {
    throw new GatewayError("INTERNAL", "the receiver does not start");
  });
  const [port] = await Promise.race([once(child, "message"), died]);
  died.catch(() => undefined);
  return {
    port: Number(port),
    certificates,
    ports: portsOf(async () => [readFileSync(certificates.ca, "utf8")]),
    async taken() {
      child.send("taken");
      const [bodies] = await once(child, "message");
      return bodies as Buffer[];
    },
    [Symbol.dispose]() {
      child.disconnect();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Of sinks that need no secret. */
export function portsOf(authorities: SinkPorts["authorities"]): SinkPorts {
  return { authorities, secret: () => async () => "", hide: (text) => text, version: "0.0.0" };
}

/** The bodies that it was sent, posted again one after the other, each by a connection of its own as sinks do. */
export async function postAgain(receiver: Receiver): Promise<Bare> {
  const bodies = await receiver.taken();
  const failed = (message: string) => new GatewayError("SINK_FAILED", message);
  const send = createOutbound({ authorities: receiver.ports.authorities, failed });
  const url = new URL(`https://localhost:${receiver.port}/`);
  const { signal } = new AbortController();
  const ms = await timed(async () => {
    for (const body of bodies) await send({ method: "POST", url, headers: {}, body, timeoutMs: 60_000, signal });
  });
  await receiver.taken();
  return { ms, bytes: bodies.reduce((sum, it) => sum + it.length, 0) };
}
