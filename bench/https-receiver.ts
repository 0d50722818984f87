import { readFileSync } from "node:fs";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";

// A process of its own that takes every batch over HTTPS on loopback: `node https-receiver.ts <certificate> <key>` prints its port.
const [certificate = "", key = ""] = process.argv.slice(2);
const server = createServer({ cert: readFileSync(certificate), key: readFileSync(key) }, (request, response) => {
  request.resume().on("end", () => response.end("{}"));
});
server.listen(0, "127.0.0.1", () => console.log((server.address() as AddressInfo).port));
// Whoever started it has ended.
process.stdin.resume().on("end", () => process.exit(0));
