import { ECOSYSTEMS, type EcosystemName } from "../../policy/ecosystems/ecosystem.ts";
import { namingOf } from "../../policy/ecosystems/naming.ts";
import type { Packages, RegistrySource } from "../../policy/packages.ts";
import { hostOf } from "../http.ts";
import { packageKey } from "../package-key.ts";
import type { Source } from "../source.ts";
import { type OwnRegistry, ownRegistries } from "./registries.ts";

/** Where packages come from. */
export interface Sources {
  /** Of an ecosystem, the one for all names first; none when this computer knows none. */
  all(ecosystem: EcosystemName): readonly Source[];
  /** Whose name this is. One that a registry has for itself is never asked of another (dependency confusion). */
  of(ecosystem: EcosystemName, name: string): Source | undefined;
  /** The ecosystem that has this address, with the beginning that it shares with all of the registry's addresses. */
  locate(url: URL): { readonly ecosystem: EcosystemName; readonly base: string } | undefined;
  /** The registry itself has said that its files lie at this address too. */
  extend(ecosystem: EcosystemName, url: string): void;
  /** Whether a registry has anything at this `host:port`. */
  claims(host: string): boolean;
}

/** Of the profile, and where that says nothing of this computer's own tools. */
export async function readSources({ registries }: Pick<Packages, "registries">, own = ownRegistries): Promise<Sources> {
  const read = ECOSYSTEMS.map(async (ecosystem): Promise<[EcosystemName, Source[]]> => {
    const named = registries[ecosystem];
    const sources = named ? named.map(sourceOf) : (await own(ecosystem)).map(ownSource);
    // The one for all names first.
    return [ecosystem, sources.sort((a, b) => Number(a.only !== undefined) - Number(b.only !== undefined))];
  });
  const byEcosystem = new Map(await Promise.all(read));
  const all = (ecosystem: EcosystemName) => byEcosystem.get(ecosystem) ?? [];
  const places = [...byEcosystem].flatMap(([ecosystem, sources]) => sources.flatMap((it) => placesOf(ecosystem, it)));
  // The longest first: two registries can lie on one host, one below the other.
  places.sort((a, b) => b.base.length - a.base.length);
  const hosts = new Set([...byEcosystem.values()].flatMap((them) => them.flatMap((it) => [...it.hosts])));
  return {
    all,
    of: (ecosystem, name) => {
      const sources = all(ecosystem);
      // However it is spelt: crates.io would have an `Acme_tool` for who asks for `acme-tool` in this way.
      const read = (text: string) => packageKey(namingOf(ecosystem), text);
      const isOwn = ({ only }: Source) => only?.some((it) => matchesName(read(it), read(name)));
      return sources.find(isOwn) ?? sources.find(({ only }) => !only);
    },
    locate: (url) => places.find(({ base }) => url.href.startsWith(base)),
    extend: (ecosystem, url) => {
      const host = hostOf(url);
      hosts.add(host);
      for (const it of all(ecosystem)) {
        if (it.hosts.has(host)) continue;
        it.hosts.add(host);
        places.push({ ecosystem, base: new URL("/", url).href });
      }
    },
    claims: (host) => hosts.has(host),
  };
}

/** A registry's own addresses begin with its root; for pip, files lie beside the index (`simple/`). Of other hosts everything is its. */
function placesOf(ecosystem: EcosystemName, { root, hosts }: Source) {
  const own = ecosystem === "pip" ? root.replace(/simple\/$/, "") : root;
  const others = [...hosts].filter((it) => it !== hostOf(root));
  const elsewhere = others.flatMap((it) =>
    ["http", "https"].map((scheme) => ({ ecosystem, base: new URL(`${scheme}://${it}/`).href })),
  );
  return [{ ecosystem, base: own }, ...elsewhere];
}

function matchesName(pattern: string, name: string): boolean {
  return pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern;
}

function sourceOf({ url, only, files, secret }: RegistrySource): Source {
  const scheme = new URL(url).protocol;
  const hosts = [url, ...files.map((it) => `${scheme}//${it}/`)].map((it) => hostOf(it));
  return { root: url, hosts: new Set(hosts), ...(only && { only }), ...(secret !== undefined && { secret }) };
}

function ownSource({ url, files, only }: OwnRegistry): Source {
  const hosts = [url, ...files].map((it) => hostOf(it));
  return { root: url.endsWith("/") ? url : `${url}/`, hosts: new Set(hosts), ...(only && { only }) };
}
