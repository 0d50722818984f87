import { GatewayError } from "../errors.ts";
import { printable } from "../lib/text.ts";
import type { EcosystemName, Naming } from "../policy/ecosystems/ecosystem.ts";
import type { PackageFacts } from "../policy/package.ts";
import { isOpen, type Verdict } from "../policy/verdict.ts";
import type { Deliver } from "./delivery.ts";
import { type FactPorts, factsOf } from "./facts.ts";
import type { FetchDocument } from "./fetch-document.ts";
import { hostOf } from "./http.ts";
import type { Artifact, Desk, Release, Reply } from "./registry.ts";
import { type Refused, refusalText } from "./session-packages.ts";
import type { Source } from "./source.ts";
import type { Sources } from "./sources/sources.ts";

/** Verdicts that are remembered: a registry may describe thousands of versions, and describes them again for each program that asks. */
const MAX_REMEMBERED = 20_000;
const REMEMBERED_MS = 60_000;

export interface DeskPorts extends FactPorts {
  readonly sources: Sources;
  readonly documents: FetchDocument;
  readonly deliver: Deliver;
  readonly decide: (facts: PackageFacts) => Verdict;
  /** Names the policy in force: what another one said is not remembered. */
  readonly policyDigest: () => string;
  /** Asks a person, where the verdict leaves it to one. */
  readonly settle: (verdict: Verdict, signal: AbortSignal) => Promise<Verdict>;
  readonly isRequested: (ecosystem: EcosystemName, name: string) => boolean;
  readonly onRefused: (refused: Refused) => void;
  /** Ends what the session is waiting for. */
  readonly ending: AbortSignal;
}

/** One session's desk for one ecosystem. */
export function createDesk(naming: Naming, ports: DeskPorts): (signal: AbortSignal) => Desk {
  const { ecosystem } = naming;
  const { sources, nowMs } = ports;
  let remembered = new Map<string, Verdict>();
  let sinceMs = nowMs();
  let decidedBy = "";

  const sourceOf = (name: string): Source => {
    const source = sources.of(ecosystem, name);
    if (source) return source;
    throw unknownRegistry(`${ecosystem}:${printable(name, 200)}`);
  };
  const factsAbout = (release: Release, artifact: Artifact | undefined): PackageFacts => {
    const registry = hostOf(sourceOf(release.name).root);
    const requested = ports.isRequested(ecosystem, release.name);
    return factsOf(naming, release, artifact, { requested, registry }, ports);
  };
  /** What may have a licence that would do is not refused before it was asked for. */
  const decide = (facts: PackageFacts, mayHaveLicense: boolean): Verdict => {
    const decided = ports.decide(facts);
    if (isOpen(decided) || !mayHaveLicense || !ports.licenses) return decided;
    const assumed = ports.decide({ ...facts, licenses: ports.licenses });
    return isOpen(assumed) ? assumed : decided;
  };
  const verdict = (release: Release, artifact?: Artifact): Verdict => {
    const digest = ports.policyDigest();
    if (decidedBy !== digest || remembered.size > MAX_REMEMBERED || Math.abs(nowMs() - sinceMs) > REMEMBERED_MS) {
      remembered = new Map();
      sinceMs = nowMs();
      decidedBy = digest;
    }
    const facts = factsAbout(release, artifact);
    const key = JSON.stringify([facts, release.licenses === undefined]);
    const known = remembered.get(key);
    if (known) return known;
    const decided = decide(facts, release.licenses === undefined);
    remembered.set(key, decided);
    return decided;
  };
  const refuse = (subject: { name: string; version?: string }, reason: string, policies: readonly string[]): Reply => {
    const { name, version } = subject;
    const refused = { ecosystem, name, ...(version !== undefined && { version }), reason, policies };
    ports.onRefused(refused);
    return errorReply(403, refusalText(refused));
  };

  const rootsOf = () => {
    const roots = sources.all(ecosystem).map((it) => it.root);
    // Else whatever is looked for would be said not to exist.
    if (roots.length === 0) throw unknownRegistry(ecosystem);
    return roots;
  };

  return (signal) => ({
    root: (name) => sourceOf(name).root,
    roots: rootsOf(),
    document: async (url, options = {}) => {
      const source = ownerOf(url);
      return await ports.documents(source, url, options, AbortSignal.any([signal, ports.ending]));
    },
    verdict,
    deliver: async (release, artifact, others) => {
      // Not as it is remembered: what has been used since may be decisive.
      const fresh = decide(factsAbout(release, artifact), release.licenses === undefined);
      if (fresh.permitted !== verdict(release, artifact).permitted) remembered.clear();
      const decided = await ports.settle(fresh, AbortSignal.any([signal, ports.ending]));
      if (!decided.permitted) {
        const would = others.find((it) => it.version !== release.version && isOffered(naming, it, verdict));
        const hint = would ? `; ${would.version} would do` : "; no version of it would do";
        return refuse(release, `${decided.reason}${hint}`, decided.policies);
      }
      const facts = factsAbout(release, artifact);
      try {
        return await ports.deliver(
          { release, artifact, facts, source: sourceOf(release.name), verdict: decided },
          signal,
        );
      } catch (error) {
        if (!(error instanceof GatewayError) || error.code !== "REGISTRY_FAILED") throw error;
        return refuse(release, error.message, []);
      }
    },
    refuse: (subject, reason) => refuse(subject, reason, []),
  });

  /** Of all registries the one whose root the address begins with, or else one that may have files there. */
  function ownerOf(url: string): Source {
    const all = sources.all(ecosystem);
    const below = all.filter((it) => url.startsWith(it.root)).toSorted((a, b) => b.root.length - a.root.length);
    const host = hostOf(url);
    const found = below[0] ?? all.find((it) => it.hosts.has(host));
    if (found) return found;
    throw new GatewayError(
      "REGISTRY_FAILED",
      `a registry leads to another host, \`${printable(host, 260)}\`: if files of it lie there, name it in its \`files\``,
    );
  }
}

function unknownRegistry(what: string): GatewayError {
  const message = `no registry is known for \`${what}\`: this computer has no such tool, it did not answer, or it has no address for it; name one in \`packages.registries\``;
  return new GatewayError("REGISTRY_FAILED", message);
}

/** Whether somebody who doesn't care for the version may be sent to this one. */
function isOffered(naming: Naming, release: Release, verdict: (release: Release) => Verdict): boolean {
  return !release.yanked && !naming.isPrerelease(release.version) && isOpen(verdict(release));
}

/** Both npm and pip show the reason; npm wants it as JSON. */
export function errorReply(status: number, message: string): Reply {
  const body = `${JSON.stringify({ error: `glovebox: ${message}` })}\n`;
  return { status, headers: { "content-type": "application/json" }, body };
}
