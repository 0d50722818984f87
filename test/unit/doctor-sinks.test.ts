import { chmodSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { expect, onTestFinished, test, vi } from "vitest";
import { sinkSchema } from "../../src/audit/sinks/settings.ts";
import { examineSinks } from "../../src/cli/doctor-sinks.ts";
import { secretProblem } from "../../src/egress/secret-probe.ts";
import { createSessionAuthority } from "../../src/egress/session-authority.ts";
import { GatewayError } from "../../src/errors.ts";
import { scratch } from "../support/audit.ts";
import { makeCertificates } from "../support/certificates.ts";
import { openHttpsReceiver } from "../support/https-receiver.ts";
import { testPorts } from "../support/shipping.ts";

const VARIABLE = "GLOVEBOX_TEST_SINK_TOKEN";

/** What doctor finds of one sink. */
async function found(settings: object, timeoutMs?: number) {
  const sinks = async () => [sinkSchema.parse(settings)];
  const ports = (signal: AbortSignal) => testPorts([], signal);
  const [finding] = await examineSinks({ sinks, ports, secretProblem }, timeoutMs);
  return finding;
}

/** A receiver, and what reaches it. */
async function stand() {
  const authority = await createSessionAuthority();
  const receiver = await openHttpsReceiver(authority);
  onTestFinished(() => receiver[Symbol.asyncDispose]());
  const directory = scratch();
  const ca = join(directory, "ca.pem");
  writeFileSync(ca, authority.certificate);
  const settings = { name: "central", type: "https", url: `https://localhost:${receiver.port}/`, ca };
  return { receiver, directory, settings };
}

async function listen(onConnection: (socket: Socket) => void): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket.on("error", () => undefined));
    onConnection(socket);
  });
  onTestFinished(() => {
    for (const it of sockets) it.destroy();
    server.close();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

test("a sink whose secret, files and receiver are there is well, and is sent nothing", async () => {
  const { receiver, directory, settings } = await stand();
  const file = join(directory, "token");
  writeFileSync(file, "a-token-of-a-test\n", { mode: 0o640 });
  expect(await found({ ...settings, token: { file } })).toEqual({
    name: "sink central",
    status: "ok",
    detail: `localhost:${receiver.port} answers; not checked: whether it takes records`,
  });
  expect(receiver.deliveries).toEqual([]);
});

test("a variable that is not set is told, and that it has to be set elsewhere; a command is not run", async () => {
  const { directory, settings } = await stand();
  expect(process.env[VARIABLE]).toBeUndefined();
  expect(await found({ ...settings, token: { env: VARIABLE } })).toMatchObject({
    status: "warn",
    detail: expect.stringContaining(`\`${VARIABLE}\`, for \`token\`, is not in this environment`),
    fix: expect.stringContaining("MCP client"),
  });
  vi.stubEnv(VARIABLE, "short");
  onTestFinished(() => void vi.unstubAllEnvs());
  expect(await found({ ...settings, token: { env: VARIABLE } })).toMatchObject({
    status: "fail",
    detail: expect.stringContaining("fewer than 8 characters"),
  });
  const trace = join(directory, "ran");
  expect(await found({ ...settings, token: { command: ["/usr/bin/touch", trace] } })).toMatchObject({
    status: "ok",
    detail: expect.stringContaining("not checked: `token`, whose command is not run"),
  });
});

test("a secret, a key and a certificate that can't be used are told with what to do", async () => {
  const { directory, settings } = await stand();
  const file = join(directory, "token");
  writeFileSync(file, "a-token-of-a-test\n");
  chmodSync(file, 0o644);
  expect(await found({ ...settings, token: { file } })).toMatchObject({
    status: "fail",
    detail: expect.stringContaining("anybody may read its file; run `chmod o-r` on it"),
  });
  const { client } = await makeCertificates(directory);
  chmodSync(client.key, 0o644);
  for (const [more, why] of [
    [{ ca: file }, "no certificate to be read in"],
    [{ ca: join(directory, "absent") }, "(ENOENT)"],
    [{ clientCertificate: client }, "others may use the key in"],
    [{ clientCertificate: { ...client, key: file } }, "may use the key"],
  ] as const) {
    expect(await found({ ...settings, ...more })).toMatchObject({
      status: "fail",
      detail: expect.stringContaining(why),
    });
  }
  expect(await found({ name: "own", type: "pino", target: "no-such-package" })).toMatchObject({ status: "fail" });
});

test("a receiver that is not there, is another one, or says nothing is told", async () => {
  const { receiver, settings } = await stand();
  const { otherCa } = await makeCertificates(scratch());
  expect(await found({ ...settings, ca: otherCa })).toMatchObject({
    status: "fail",
    detail: expect.stringMatching(/cannot be reached: .*certificate/),
  });
  await receiver.stop();
  expect(await found(settings)).toMatchObject({
    status: "fail",
    detail: expect.stringMatching(/cannot be reached: .*ECONNREFUSED/),
  });
  const silent = await listen(() => undefined);
  expect(await found({ name: "central", type: "syslog", host: "127.0.0.1", port: silent }, 200)).toMatchObject({
    status: "fail",
    detail: "it cannot be reached: no answer within 0.2 s",
  });
});

test("PostgreSQL is asked for TLS, which it may not have, and not over a loopback without", async () => {
  const asked: string[] = [];
  const port = await listen((socket) => {
    socket.on("data", (bytes: Buffer) => {
      asked.push(bytes.toString("hex"));
      socket.write("N");
    });
  });
  const settings = { name: "central", type: "postgres", host: "127.0.0.1", port, database: "logs", user: "writer" };
  expect(await found(settings)).toMatchObject({ status: "fail", detail: expect.stringContaining("it offers no TLS") });
  expect(asked).toEqual(["0000000804d2162f"]);
  expect(await found({ ...settings, tls: "local" })).toMatchObject({ status: "ok" });
  expect(asked).toHaveLength(1);
});

test("settings that can't be read are told, and that there are no sinks", async () => {
  const ports = (signal: AbortSignal) => testPorts([], signal);
  const sinks = async () => {
    throw new GatewayError("CONFIG_INVALID", "glovebox.yaml:3:1: `sink` is not known");
  };
  expect(await examineSinks({ sinks, ports, secretProblem })).toMatchObject([
    { name: "logging", status: "fail", detail: expect.stringContaining("glovebox.yaml:3:1") },
  ]);
  expect(await examineSinks({ sinks: async () => [], ports, secretProblem })).toMatchObject([
    { name: "logging", status: "ok" },
  ]);
});
