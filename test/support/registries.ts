import { execFileSync } from "node:child_process";
import { connect as connectTcp } from "node:net";
import { connect } from "node:tls";

/** Where this computer's own tools get packages: what a test of real package managers may reach. */
export interface Registry {
  readonly url: string;
  /** `host:port`, as a profile's `egress.allow` has them. */
  readonly hosts: readonly string[];
}

/** Asks the tool; `undefined` when it is not there, or its registry does not answer. */
export async function findRegistry(tool: "npm" | "pip" | "apt"): Promise<Registry | undefined> {
  try {
    const [url = "", ...others] = ASK[tool]();
    const hosts = [url, ...others].map(hostOf);
    for (const it of hosts) await answers(it);
    return { url, hosts: [...new Set(hosts)] };
  } catch {
    return undefined;
  }
}

const ask = (program: string, ...args: string[]) =>
  execFileSync(program, args, { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] }).trim();

const ASK = {
  npm: () => [ask("npm", "config", "get", "registry")],
  pip: () => {
    const own =
      "from pip._internal.models.index import PyPI as p; print(p.simple_url, 'https://' + p.file_storage_domain)";
    const defaults = ask("python3", "-c", own).split(" ");
    try {
      return [ask("pip", "config", "get", "global.index-url")];
    } catch {
      return defaults;
    }
  },
  apt: () => {
    const targets = ask("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages");
    return [targets.split("\n")[0] ?? ""];
  },
} as const;

function hostOf(url: string): string {
  const { hostname, port, protocol } = new URL(url);
  return `${hostname}:${port || (protocol === "http:" ? 80 : 443)}`;
}

function answers(host: string): Promise<void> {
  const [name = "", port = ""] = host.split(":");
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const to = { host: name, port: Number(port), timeout: 5_000 };
  const socket =
    port === "80" ? connectTcp(to, () => resolve()) : connect({ ...to, servername: name }, () => resolve());
  socket.on("error", reject).on("timeout", () => reject(new Error("timed out")));
  return promise.finally(() => socket.destroy());
}
