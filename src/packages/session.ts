import { Readable } from "node:stream";
import { asGatewayError, GatewayError } from "../errors.ts";
import type { Logger } from "../log.ts";
import { ECOSYSTEMS, type EcosystemName } from "../policy/ecosystems/ecosystem.ts";
import type { PackageFacts } from "../policy/package.ts";
import type { Verdict } from "../policy/verdict.ts";
import type { PackageCache } from "./cache/cache.ts";
import { createDelivery } from "./delivery.ts";
import { createDesk, errorReply } from "./desk.ts";
import type { FactPorts } from "./facts.ts";
import { createDocuments } from "./fetch-document.ts";
import { hostOf, type SendHttp } from "./http.ts";
import { inTurns } from "./permitted.ts";
import type { Registry, Reply } from "./registry.ts";
import type { Admitted, Refused, SessionPackages } from "./session-packages.ts";
import type { Sources } from "./sources/sources.ts";
import { createTurnstile } from "./turnstile.ts";

/** Where package managers of a sandbox find registries: a name that nobody can have (ICANN keeps `.internal` for private use). */
export const PACKAGES_HOST = "packages.glovebox.internal";
const MAX_RECENT = 512;
const MAX_ENTERED = 2_000;

export interface PackagePorts extends FactPorts {
  readonly registries: ReadonlyMap<EcosystemName, Registry>;
  readonly sources: () => Promise<Sources>;
  readonly cache: PackageCache;
  readonly send: SendHttp;
  readonly decide: (facts: PackageFacts) => Verdict;
  readonly policyDigest: () => string;
  readonly settle: (verdict: Verdict, signal: AbortSignal) => Promise<Verdict>;
  /** Resolves when it is on record. */
  readonly onAdmitted: (admitted: Admitted, verdict: Verdict) => Promise<void>;
  readonly onRefused: (refused: Refused) => void;
  readonly log: Logger;
  readonly ending: AbortSignal;
}

interface Asked {
  readonly method: string;
  readonly accept: string;
}

/** One session's registries. */
export interface OpenPackages extends SessionPackages {
  /** Variables by which the package managers of the sandbox find them. */
  readonly environment: Readonly<Record<string, string>>;
  readonly ready: Promise<void>;
  claims(host: string, port: number): boolean;
  /** Of a request to an address that is claimed. Never rejects but when its signal aborts. */
  answer(url: URL, asked: Asked, signal: AbortSignal): Promise<Reply>;
}

export function createSessionPackages(ports: PackagePorts): OpenPackages {
  const { registries, log, ending } = ports;
  let recent: readonly ({ readonly admitted: Admitted } | { readonly refused: Refused })[] = [];
  let number = 0;
  const entered = new Set<string>();
  const keep = (it: (typeof recent)[number]) => {
    number += 1;
    recent = [...recent.slice(1 - MAX_RECENT), it];
  };
  const onRefused = (refused: Refused) => {
    keep({ refused });
    ports.onRefused(refused);
  };
  const requested = new Set<{ readonly ecosystem: EcosystemName; readonly names: readonly string[] }>();
  const isRequested = (ecosystem: EcosystemName, name: string) =>
    [...requested].some((it) => it.ecosystem === ecosystem && it.names.includes(name));

  let sources: Sources | undefined;
  const ready = ports.sources().then(
    (it) => {
      sources = it;
    },
    (error: unknown) => log.error({ err: error }, "no registry is known"),
  );
  const deliver = createDelivery({
    send: ports.send,
    cache: ports.cache,
    admit: async (admitted, verdict) => {
      await ports.onAdmitted(admitted, verdict);
      entered.add(admitted.purl);
      const [first] = entered;
      if (entered.size > MAX_ENTERED && first !== undefined) entered.delete(first);
      keep({ admitted });
    },
    onFailure: ({ release, facts }, error) => {
      if (ending.aborted) return;
      const { name, version } = release;
      onRefused({ ecosystem: facts.ecosystem, name, version, reason: asGatewayError(error).message, policies: [] });
    },
  });
  const documents = createDocuments(ports);
  const turnstile = createTurnstile();
  const deskOf = async (registry: Registry) => {
    await ready;
    if (!sources) throw new GatewayError("REGISTRY_FAILED", "no registry is known");
    const known = sources;
    const open = createDesk(registry.naming, { ...ports, sources, documents, deliver, isRequested, onRefused });
    const files = (await registry.files?.(open(ending))) ?? [];
    for (const url of files) known.extend(registry.naming.ecosystem, url);
    return open;
  };
  const desks = new Map<Registry, ReturnType<typeof deskOf>>();
  const desk = async (registry: Registry, signal: AbortSignal) => {
    const known = desks.get(registry) ?? deskOf(registry);
    desks.set(registry, known);
    // One that can't be opened is tried again.
    known.catch(() => desks.delete(registry));
    return (await known)(signal);
  };
  const base = (ecosystem: EcosystemName) => `http://${PACKAGES_HOST}/${ecosystem}/`;

  /** What is asked of which registry; `undefined` when there is nothing. */
  function locate(url: URL): { readonly registry: Registry; readonly base: string } | undefined {
    if (url.hostname === PACKAGES_HOST) {
      const ecosystem = ECOSYSTEMS.find((it) => url.href.startsWith(base(it)));
      const registry = ecosystem && registries.get(ecosystem);
      return registry && { registry, base: base(ecosystem) };
    }
    const found = sources?.locate(url);
    const registry = found && registries.get(found.ecosystem);
    return registry && { registry, base: found.base };
  }

  async function answer(url: URL, { method, accept }: Asked, signal: AbortSignal): Promise<Reply> {
    if (method !== "GET" && method !== "HEAD") return errorReply(405, "registries are read here, and nothing else");
    const found = locate(url);
    const path = found && readPath(url.href.split(/[?#]/, 1)[0]?.slice(found.base.length) ?? "");
    if (!found || path === undefined) return errorReply(404, "no registry has anything at this address");
    const request = { method, path, accept, base: found.base } as const;
    const own = await desk(found.registry, signal);
    const reply = await turnstile(() => found.registry.answer(request, own), signal);
    if (method === "HEAD" && reply.body instanceof Readable) reply.body.destroy();
    return reply;
  }

  return {
    environment: Object.assign({}, ...[...registries].map(([name, it]) => it.environment(base(name)))),
    ready,
    claims: (host, port) =>
      (host === PACKAGES_HOST && port === 80) ||
      sources?.claims(`${host.includes(":") ? `[${host}]` : host}:${port}`) === true,
    answer: async (url, asked, signal) => {
      try {
        return await answer(url, asked, signal);
      } catch (error) {
        signal.throwIfAborted();
        const failure = asGatewayError(error);
        if (failure.code === "INTERNAL") log.error({ err: error, host: hostOf(url) }, "a registry could not answer");
        return errorReply(502, failure.message);
      }
    },
    get entered() {
      return [...entered];
    },
    get mark() {
      return number;
    },
    since: (mark) => {
      const since = number - mark;
      const latest = since > 0 ? recent.slice(-since) : [];
      return {
        admitted: latest.flatMap((it) => ("admitted" in it ? [it.admitted] : [])),
        refused: latest.flatMap((it) => ("refused" in it ? [it.refused] : [])),
      };
    },
    request: (ecosystem, names) => {
      const asked = { ecosystem, names };
      requested.add(asked);
      return { [Symbol.dispose]: () => requested.delete(asked) };
    },
    candidates: async (ecosystem, name, version, signal) => {
      const registry = registries.get(ecosystem);
      if (!registry) return undefined;
      const own = await desk(registry, signal);
      const releases = await registry.releases(name, own, version);
      return releases && (await inTurns(releases, (release) => ({ release, verdict: own.verdict(release) })));
    },
    settle: async (ecosystem, release, signal) => {
      const registry = registries.get(ecosystem);
      if (!registry) throw new GatewayError("REGISTRY_FAILED", `no registry of ${ecosystem} is known`);
      const own = await desk(registry, signal);
      return await ports.settle(own.verdict(release), AbortSignal.any([signal, ending]));
    },
    base: (ecosystem) => (registries.has(ecosystem) ? base(ecosystem) : undefined),
  };
}

/** Decoded once; `undefined` where that leaves something that can be read in two ways. */
function readPath(encoded: string): string | undefined {
  try {
    const path = decodeURIComponent(encoded);
    const isPlain = !/[\\\p{Cc}]|%[0-9a-f]{2}/iu.test(path) && !/(^|\/)\.{1,2}(\/|$)|^\/|\/\//.test(path);
    return isPlain ? path : undefined;
  } catch (error) {
    if (error instanceof URIError) return undefined;
    throw error;
  }
}
