import { execFile } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";
import { keepVerifying } from "../../src/lib/keep-verifying.ts";
import { scratch } from "../support/audit.ts";
import { makeCertificates } from "../support/certificates.ts";

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, "..", "..");
const env = { ...process.env, NODE_TLS_REJECT_UNAUTHORIZED: "0", NODE_NO_WARNINGS: "1" };

/** A server for `localhost` whose certificate is of an authority that nobody knows; says yes to everything. */
async function stranger(): Promise<number> {
  const directory = scratch();
  await makeCertificates(directory);
  const [cert, key] = ["server.pem", "server.key"].map((it) => readFileSync(join(directory, it), "utf8"));
  const server = createServer({ cert, key }, (request, response) => {
    request.resume();
    response.end("yes");
  });
  server.on("connect", (_request, socket) => socket.end("HTTP/1.1 200 OK\r\n\r\n"));
  server.on("tlsClientError", () => undefined);
  server.listen(0, "localhost");
  await once(server, "listening");
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return (server.address() as AddressInfo).port;
}

test("no connection of the gateway leaves a certificate unverified because a variable says so", async () => {
  const port = await stranger();
  const program = join(ROOT, "test", "support", "tls-client.ts");
  const { stdout } = await run(process.execPath, [program, String(port)], { env });
  const { node, ...ways } = JSON.parse(stdout) as Record<string, string>;
  expect(node, "what the variable does where nothing is said").toBe("connected");
  expect(Object.keys(ways)).toHaveLength(7);
  for (const [way, became] of Object.entries(ways)) {
    expect(became, way).toMatch(/UNABLE_TO_VERIFY_LEAF_SIGNATURE|UNABLE_TO_GET_ISSUER_CERT_LOCALLY|SELF_SIGNED_CERT/);
  }
});

test("the variable that switches verification off is taken away before anything else happens, and that is said", async () => {
  const { stderr } = await run(process.execPath, [join(ROOT, "src", "main.ts"), "--version"], { env });
  expect(stderr).toMatch(/^NODE_TLS_REJECT_UNAUTHORIZED=0 has no effect: certificates are always verified/);
});

test("only the value that switches verification off is taken away", () => {
  const said: string[] = [];
  for (const value of ["1", "", undefined]) {
    const kept = { NODE_TLS_REJECT_UNAUTHORIZED: value };
    keepVerifying(kept, (line) => said.push(line));
    expect(kept).toEqual({ NODE_TLS_REJECT_UNAUTHORIZED: value });
  }
  expect(said).toEqual([]);
  const off = { NODE_TLS_REJECT_UNAUTHORIZED: "0" };
  keepVerifying(off, (line) => said.push(line));
  expect(off).toEqual({});
  expect(said).toHaveLength(1);
});
