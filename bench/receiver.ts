import { readFileSync } from "node:fs";
import { createServer as createHttps } from "node:https";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import { createServer as createTls } from "node:tls";

// A process of its own on loopback that takes whatever comes, over HTTPS or, read to its end and dropped, over TLS alone:
// `receiver.ts https|tls <certificate> <key>`. It tells its port, and gives away the bodies that it has when it is sent anything.
const [kind, certificate = "", key = ""] = process.argv.slice(2);
const identity = { cert: readFileSync(certificate), key: readFileSync(key) };
const bodies: Buffer[] = [];
const server =
  kind === "tls"
    ? createTls(identity, (socket) => void socket.on("error", () => undefined).resume())
    : createHttps(identity, (request, response) => {
        void buffer(request).then((body) => {
          bodies.push(body);
          // Empty is what every kind of sender takes for a confirmation.
          response.end();
        });
      });
server.listen(0, "127.0.0.1", () => process.send?.((server.address() as AddressInfo).port));
process.on("message", () => process.send?.(bodies.splice(0)));
// Whoever started it has ended.
process.on("disconnect", () => process.exit(0));
