import { GatewayError } from "../errors.ts";
import type { HttpAnswer, SendHttp } from "../packages/http.ts";
import { readHost } from "../policy/host.ts";
import type { Secret } from "../policy/secret.ts";
import { send } from "./exchange.ts";
import type { SessionSecrets } from "./session-secrets.ts";
import type { Upstream } from "./upstream.ts";

export interface RegistryHttpPorts {
  readonly upstream: Upstream;
  readonly secrets: SessionSecrets;
  readonly bound: readonly Secret[];
}

/** Requests of the gateway's own to registries: by the same ways, to the same floor, and with secrets by the same rules as a program's. */
export function createRegistryHttp({ upstream, secrets, bound }: RegistryHttpPorts): SendHttp {
  return async ({ method, url, headers, secret, signal }): Promise<HttpAnswer> => {
    const host = readHost(url.hostname)?.host;
    if (host === undefined) throw new GatewayError("CONNECTION_FAILED", "it is neither a name nor an address");
    const scheme = url.protocol === "http:" ? "http" : "https";
    const port = Number(url.port || (scheme === "http" ? 80 : 443));
    const flat = [...Object.entries({ host: url.host, ...headers }).flat(), ...credentials(secret)];
    const target = { host, port, scheme, path: url.pathname + url.search } as const;
    const filled = await secrets.fill(target, method, flat, signal);
    const way = { agent: upstream.agent(scheme), host, port };
    const sending = send({ method, path: filled.path, headers: filled.headers }, way, signal);
    sending.request.end();
    const { message, stream } = await sending.answer;
    stream?.destroy();
    if (message.statusCode === 401) secrets.refused(filled.used);
    const read = Object.entries(message.headers).map(([name, value]) => [name, [value].flat()[0]] as const);
    return { status: message.statusCode ?? 502, headers: Object.fromEntries(read), stream: message };
  };

  /** With what stands for the secret in this session: it is filled in where it is bound, and refused elsewhere. */
  function credentials(name: string | undefined): string[] {
    if (name === undefined) return [];
    const placeholder = secrets.environment[name];
    const present = bound.find((it) => it.name === name)?.present ?? { as: "bearer" };
    if (placeholder === undefined) throw new GatewayError("SECRET_UNAVAILABLE", `there is no secret ${name}`);
    switch (present.as) {
      case "bearer":
        return ["Authorization", `Bearer ${placeholder}`];
      case "basic": {
        const user = `${present.username ?? "glovebox"}:${placeholder}`;
        return ["Authorization", `Basic ${Buffer.from(user).toString("base64")}`];
      }
      case "header":
        return [present.name, placeholder];
      case "query":
        throw new GatewayError(
          "SECRET_UNAVAILABLE",
          `the secret ${name} goes into a query, where no registry reads it`,
        );
    }
  }
}
