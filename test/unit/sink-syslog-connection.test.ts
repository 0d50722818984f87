import { once } from "node:events";
import { chmodSync, readFileSync } from "node:fs";
import { type AddressInfo, connect } from "node:net";
import { createServer, type TLSSocket } from "node:tls";
import { expect, onTestFinished, test } from "vitest";
import type { SinkPorts } from "../../src/audit/sinks/sink.ts";
import { openSyslogSink } from "../../src/audit/sinks/syslog.ts";
import { syslogSchema } from "../../src/audit/sinks/syslog-settings.ts";
import { scratch } from "../support/audit.ts";
import { event } from "../support/audit-bodies.ts";
import { makeCertificates } from "../support/certificates.ts";
import { batchOf, loggedEntries, sinkPorts } from "../support/sinks.ts";

const signal = new AbortController().signal;

/** A receiver of the test's own, and a sink that delivers to it. */
async function receiver(
  onConnection: (socket: TLSSocket) => void,
  settings: Record<string, unknown> = {},
  ports: SinkPorts = sinkPorts,
) {
  const directory = scratch();
  const { ca } = await makeCertificates(directory);
  const [cert, key] = ["server.pem", "server.key"].map((it) => readFileSync(`${directory}/${it}`, "utf8"));
  const open = new Set<TLSSocket>();
  const server = createServer({ cert, key, allowHalfOpen: true }, (socket) => {
    open.add(socket);
    socket.on("error", () => undefined);
    onConnection(socket);
  });
  onTestFinished(() => {
    for (const socket of open) socket.destroy();
    server.close();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const stated = { name: "central", type: "syslog", host: "localhost", port, ca, ...settings };
  const sink = await openSyslogSink(syslogSchema.parse(stated), ports);
  onTestFinished(() => sink[Symbol.asyncDispose]());
  return { sink };
}

/** Some 2 MB: more than the buffers of two kernels hold on loopback, at once. */
const many = () => loggedEntries(Array.from({ length: 150 }, (_, n) => event({ n, text: "x".repeat(14_000) })));
const few = () => loggedEntries(Array.from({ length: 5 }, (_, n) => event({ n })));

test("a batch is delivered when the receiver has read it and closed", async () => {
  let received = "";
  const { sink } = await receiver((socket) => {
    socket.setEncoding("latin1").on("data", (it) => {
      received += it;
    });
    socket.on("end", () => socket.end());
  });
  const entries = await many();
  await sink.deliver(batchOf(entries), signal);
  expect(received.match(/ hash="[0-9a-f]{64}"/g)?.length).toBeGreaterThan(entries.length);
});

test("a receiver that closes without having read has delivered nothing, however it closes", async () => {
  let how = 0;
  const { sink } = await receiver((socket) => {
    socket.pause();
    // With an end of TLS and of the connection, or with that of the connection only, at once or when some of the batch is there.
    how += 1;
    const close = () => (how % 2 === 0 ? socket.end(() => socket.destroy()) : socket.destroy());
    if (how % 3 === 0) setImmediate(close);
    else close();
  });
  for (const entries of [await few(), await many()]) {
    for (let round = 0; round < 10; round += 1) {
      await expect(sink.deliver(batchOf(entries), signal)).rejects.toMatchObject({ code: "SINK_FAILED" });
    }
  }
});

test("a receiver that has closed before the batch reaches it has not delivered it", async () => {
  const held: Buffer[] = [];
  const through = async (_host: string, port: number) => {
    const socket = connect({ host: "127.0.0.1", port });
    await once(socket, "connect");
    const write = socket.write.bind(socket);
    let ended = false;
    let writes = 0;
    socket.once("end", () =>
      // When TLS has been ended too, and in one piece: a second one would meet the reset that the first is answered by.
      setTimeout(() => {
        ended = true;
        write(Buffer.concat(held));
      }, 20),
    );
    // The client's part of the handshake are two writes; what follows is on its way until the receiver's end has arrived.
    socket.write = (chunk: Uint8Array | string, ...rest: unknown[]) => {
      const done = rest.find((it): it is () => void => typeof it === "function");
      writes += 1;
      if (writes <= 2 || ended) return write(chunk, done);
      held.push(Buffer.from(chunk as Uint8Array));
      done?.();
      return true;
    };
    return socket;
  };
  const { sink } = await receiver((socket) => socket.destroy(), {}, { ...sinkPorts, through });
  await expect(sink.deliver(batchOf(await few()), signal)).rejects.toThrow(/cut the connection .*(?:EPIPE|ECONNRESET)/);
  expect(Buffer.concat(held).length).toBeGreaterThan(1000);
});

test("a receiver that reads a part and closes has not delivered the batch", async () => {
  const { sink } = await receiver((socket) => {
    socket.once("data", () => socket.end(() => socket.destroy()));
  });
  const entries = await many();
  await expect(sink.deliver(batchOf(entries), signal)).rejects.toMatchObject({ code: "SINK_FAILED" });
});

test("a receiver that reads all and never closes has not confirmed", async () => {
  const { sink } = await receiver((socket) => void socket.resume(), { timeoutSeconds: 1 });
  await expect(sink.deliver(batchOf(await few()), signal)).rejects.toThrow(/no answer for 1 s/);
});

test("a delivery that is given up ends at once, with the reason", async () => {
  const connected = Promise.withResolvers<void>();
  const { sink } = await receiver((socket) => {
    socket.pause();
    connected.resolve();
  });
  const aborting = new AbortController();
  const delivery = sink.deliver(batchOf(await many()), aborting.signal);
  const refused = expect(delivery).rejects.toThrow("enough");
  await connected.promise;
  aborting.abort(new Error("enough"));
  await refused;
});

test("a sink that is disposed of ends its delivery", async () => {
  const connected = Promise.withResolvers<void>();
  const { sink } = await receiver((socket) => {
    socket.pause();
    connected.resolve();
  });
  const refused = expect(sink.deliver(batchOf(await many()), signal)).rejects.toMatchObject({ code: "SHUTTING_DOWN" });
  await connected.promise;
  await sink[Symbol.asyncDispose]();
  await refused;
});

test("a certificate that can't be read is found when the sink is opened", async () => {
  const settings = syslogSchema.parse({ name: "central", type: "syslog", host: "localhost", ca: "/nowhere/ca.pem" });
  await expect(openSyslogSink(settings, sinkPorts)).rejects.toMatchObject({ code: "CONFIG_INVALID" });
});

test("a key that others may read is refused", async () => {
  const { ca, client } = await makeCertificates(scratch());
  const stated = { name: "central", type: "syslog", host: "localhost", ca, clientCertificate: client };
  await openSyslogSink(syslogSchema.parse(stated), sinkPorts);
  chmodSync(client.key, 0o644);
  await expect(openSyslogSink(syslogSchema.parse(stated), sinkPorts)).rejects.toThrow(
    /others may use the key .*chmod 600/,
  );
});

test("settings that name what is not there are refused", () => {
  const plain = { name: "central", type: "syslog", host: "logs.example" };
  expect(syslogSchema.parse(plain)).toMatchObject({ port: 6514, facility: "audit", maxMessageBytes: 8192 });
  for (const wrong of [{ tls: false }, { facility: "kern" }, { maxMessageBytes: 1024 }, { host: "a b" }, { ca: "x" }]) {
    expect(syslogSchema.safeParse({ ...plain, ...wrong }).success).toBe(false);
  }
});
