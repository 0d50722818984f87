import { request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import type { Socket } from "node:net";
import { GatewayError } from "../errors.ts";

/** Opens a way through a proxy. @throws GatewayError CONNECTION_FAILED */
export type TunnelThrough = (host: string, port: number, signal: AbortSignal) => Promise<Socket>;

/**
 * By way of a network's own proxy, with CONNECT (RFC 9110 §9.3.6), also for plain HTTP: one way to check, and no request of a sandbox is
 * read by a server that wasn't meant.
 * @param proxy `http://` or `https://`, perhaps with user and password
 */
export function tunnelThrough(proxy: URL, authorities: () => Promise<readonly string[]>): TunnelThrough {
  const user = [proxy.username, proxy.password].map(decodeURIComponent).join(":");
  const credentials =
    proxy.username === "" ? {} : { "proxy-authorization": `Basic ${Buffer.from(user).toString("base64")}` };
  return async (host, port, signal) => {
    const result = Promise.withResolvers<Socket>();
    const target = `${host.includes(":") ? `[${host}]` : host}:${port}`;
    const options = {
      // A URL has an IPv6 address in brackets, a socket has it without.
      host: proxy.hostname.replace(/^\[(.*)\]$/, "$1"),
      port: proxy.port || (proxy.protocol === "https:" ? 443 : 80),
      method: "CONNECT",
      path: target,
      headers: { host: target, ...credentials },
      agent: false as const,
      signal,
    };
    const asking =
      proxy.protocol === "https:"
        ? requestHttps({ ...options, ca: [...(await authorities())], rejectUnauthorized: true })
        : requestHttp(options);
    asking.on("connect", ({ statusCode }, socket, head) => {
      // Whoever holds it also listens; an error between two holders must not end the gateway.
      socket.on("error", () => undefined);
      if (statusCode === 200) {
        socket.unshift(head);
        result.resolve(socket as Socket);
        return;
      }
      socket.destroy();
      result.reject(
        new GatewayError("CONNECTION_FAILED", `the upstream proxy answered ${statusCode} for \`${target}\``),
      );
    });
    asking.on("response", (response) => {
      response.destroy();
      result.reject(new GatewayError("CONNECTION_FAILED", "the upstream proxy does not know CONNECT"));
    });
    asking.on("error", (cause) =>
      result.reject(new GatewayError("CONNECTION_FAILED", "the upstream proxy does not answer", { cause })),
    );
    asking.end();
    return await result.promise;
  };
}
