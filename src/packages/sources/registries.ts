import type { EcosystemName } from "../../policy/ecosystems/ecosystem.ts";
import { hostOf } from "../http.ts";
import { askTool } from "./ask-tool.ts";
import { cargoIndex } from "./own-cargo.ts";
import { mavenRepository } from "./own-maven.ts";

/** Package managers that can be asked where they get packages. */
export const REGISTRY_TOOLS = ["npm", "pip", "go", "apt"] as const;
export type RegistryTool = (typeof REGISTRY_TOOLS)[number];

/** Addresses of the registries that this computer's own tool is configured for, the index first; none when the tool is not there. */
export async function registryUrls(tool: RegistryTool): Promise<string[]> {
  try {
    const urls = await ASK[tool]();
    return [...new Set(urls.filter((it) => /^https?:$/.test(URL.parse(it)?.protocol ?? "")))];
  } catch {
    return [];
  }
}

/** A registry that this computer's own tool is configured for. */
export interface OwnRegistry {
  readonly url: string;
  /** Origins at which its files may lie besides. */
  readonly files: readonly string[];
  /** Names that the tool asks for here only. */
  readonly only?: readonly string[];
}

/** Those of an ecosystem, the one for all names first; none when the tool is not there, or can't be asked. */
export async function ownRegistries(ecosystem: EcosystemName): Promise<OwnRegistry[]> {
  try {
    return await OWN[ecosystem]();
  } catch {
    return [];
  }
}

/** The checksum database that this computer's go asks, as GOSUMDB has it; `undefined` without go, or where it is off. */
export async function goChecksums(): Promise<string | undefined> {
  const told = await answer("go", "env", "GOSUMDB").catch(() => "");
  return told === "" || told === "off" ? undefined : told;
}

const OWN: Readonly<Record<EcosystemName, () => Promise<OwnRegistry[]>>> = {
  npm: async () => {
    const [url] = await registryUrls("npm");
    const listed = JSON.parse(await answer("npm", "config", "list", "--json")) as Record<string, unknown>;
    const scoped = Object.entries(listed).flatMap(([key, value]): OwnRegistry[] => {
      const scope = /^(@[^:/]+):registry$/.exec(key)?.[1];
      return scope !== undefined && typeof value === "string" ? [{ url: value, files: [], only: [`${scope}/*`] }] : [];
    });
    return [...(url === undefined ? [] : [{ url, files: [] }]), ...scoped];
  },
  // A second index would be another place for any name (dependency confusion): it takes a line of the profile, which says for which.
  pip: async () => firstOf(await registryUrls("pip")),
  go: async () => firstOf((await registryUrls("go")).slice(0, 1)),
  apt: async () => (await registryUrls("apt")).map((url) => ({ url, files: [] })),
  cargo: async () => firstOf(await cargoIndex()),
  maven: async () => firstOf(await mavenRepository()),
};

function firstOf([url, ...files]: readonly string[]): OwnRegistry[] {
  return url === undefined ? [] : [{ url, files }];
}

/** `host:port` of each. */
export async function registryHosts(tool: RegistryTool): Promise<string[]> {
  const urls = await registryUrls(tool);
  return [...new Set(urls.map((it) => hostOf(it)))];
}

/** pip's own defaults: the index, and where the files are that it names. */
const PIP_DEFAULTS =
  "from pip._internal.models.index import PyPI as p; print(p.simple_url, 'https://' + p.file_storage_domain)";

const ASK: Readonly<Record<RegistryTool, () => Promise<string[]>>> = {
  npm: async () => [await answer("npm", "config", "get", "registry")],
  pip: async () => {
    const asked = ["global.index-url", "global.extra-index-url"].map((it) =>
      answer("pip", "config", "get", it).catch(() => ""),
    );
    const configured = (await Promise.all(asked)).flatMap((it) => it.split(/\s+/)).filter((it) => it !== "");
    return configured.length > 0 ? configured : (await answer("python3", "-c", PIP_DEFAULTS)).split(" ");
  },
  go: async () => (await answer("go", "env", "GOPROXY")).split(/[,|]/),
  apt: async () =>
    (await answer("apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages")).split("\n"),
};

async function answer(program: string, ...args: string[]): Promise<string> {
  const { stdout } = await askTool(program, args);
  return stdout.trim();
}
