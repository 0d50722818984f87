import { connect as connectTcp } from "node:net";
import { connect } from "node:tls";
import { hostOf } from "../../src/packages/http.ts";
import { registryUrls } from "../../src/packages/sources/registries.ts";

/** Where this computer's own tools get packages: what a test of real package managers may reach. */
export interface Registry {
  readonly url: string;
  /** `host:port`, as a profile's `egress.allow` has them. */
  readonly hosts: readonly string[];
}

/** Asks the tool; `undefined` when it is not there, or its registry does not answer. */
export async function findRegistry(tool: "npm" | "pip" | "apt"): Promise<Registry | undefined> {
  const urls = await registryUrls(tool);
  const [url] = urls;
  if (url === undefined) return undefined;
  // Of apt's archives the first is enough.
  const hosts = (tool === "apt" ? [url] : urls).map((it) => hostOf(it));
  try {
    for (const it of hosts) await answers(it);
    return { url, hosts: [...new Set(hosts)] };
  } catch {
    return undefined;
  }
}

function answers(host: string): Promise<void> {
  const [name = "", port = ""] = host.split(":");
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const to = { host: name, port: Number(port), timeout: 20_000 };
  const socket =
    port === "80" ? connectTcp(to, () => resolve()) : connect({ ...to, servername: name }, () => resolve());
  socket.on("error", reject).on("timeout", () => reject(new Error("timed out")));
  return promise.finally(() => socket.destroy());
}
