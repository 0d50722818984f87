import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { PACKAGE_ROOT } from "../../config.ts";
import { isMissing } from "../../lib/error.ts";
import { REGISTRY_TOOLS, registryHosts } from "./registries.ts";

const TOOL = /^tool:(\w+)$/;

/**
 * The lines of a named group of hosts (`policies/groups/<name>.txt`), as `egress.allow` has them: without comments, and with what this
 * computer's package managers answer in the place of `tool:` lines. `undefined` when there is no such group.
 */
export async function findGroup(name: string): Promise<readonly string[] | undefined> {
  try {
    const text = await readFile(join(PACKAGE_ROOT, "policies", "groups", `${name}.txt`), "utf8");
    const lines = text.split("\n").map((it) => it.replace(/#.*/, "").trim());
    const hosts = await Promise.all(lines.filter((it) => it !== "").map(hostsOf));
    return [...new Set(hosts.flat())];
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

async function hostsOf(line: string): Promise<readonly string[]> {
  const asked = TOOL.exec(line)?.[1];
  const tool = REGISTRY_TOOLS.find((it) => it === asked);
  return tool ? await registryHosts(tool) : [line];
}
