import { buffer } from "node:stream/consumers";
import { GatewayError } from "../../src/errors.ts";
import type {
  Artifact,
  Desk,
  Document,
  Registry,
  RegistryRequest,
  Release,
  Reply,
} from "../../src/packages/registry.ts";
import type { Verdict } from "../../src/policy/verdict.ts";

export const PERMITTED: Verdict = { permitted: true, reason: "", policies: [] };

export function refused(reason: string): Verdict {
  return { permitted: false, reason, policies: ["packages.cedar#rule"] };
}

export interface TestDesk extends Desk {
  /** URLs of documents, in order, with those that were asked for again. */
  readonly asked: string[];
  readonly delivered: { release: Release; artifact: Artifact }[];
  readonly refusals: { name: string; version?: string; reason: string }[];
}

export interface DeskOptions {
  readonly roots: readonly string[];
  /** The upstream: a body, or what else there is; 404 without. */
  readonly fetch: (url: string, method: string) => Promise<Partial<Document> | string | Buffer | undefined>;
  readonly verdict?: (release: Release) => Verdict;
  /** Of a package that one of the roots has for itself. */
  readonly rootOf?: (name: string) => string | undefined;
}

/** A desk over documents of a test's own: what a registry asks of it is kept. */
export function testDesk({ roots, fetch, verdict = () => PERMITTED, rootOf }: DeskOptions): TestDesk {
  const asked: string[] = [];
  const delivered: TestDesk["delivered"] = [];
  const refusals: TestDesk["refusals"] = [];
  const refuse: Desk["refuse"] = (subject, reason) => {
    refusals.push({ ...subject, reason });
    return { status: 403, headers: { "content-type": "text/plain; charset=utf-8" }, body: `${reason}\n` };
  };
  return {
    asked,
    delivered,
    refusals,
    root: (name) => rootOf?.(name) ?? roots[0] ?? "",
    roots,
    document: async (url, { method = "GET", maxBytes = 64 * 1024 * 1024 } = {}) => {
      asked.push(url);
      const answer = await fetch(url, method);
      const given = typeof answer === "string" || Buffer.isBuffer(answer) ? { body: Buffer.from(answer) } : answer;
      const document = {
        status: given ? 200 : 404,
        contentType: "",
        headers: {},
        body: Buffer.alloc(0),
        url,
        ...given,
      };
      if (document.body.length > maxBytes) throw new GatewayError("REGISTRY_FAILED", "too large");
      return document;
    },
    verdict,
    deliver: async (release, artifact) => {
      const { permitted, reason } = verdict(release);
      if (!permitted) return refuse(release, reason);
      delivered.push({ release, artifact });
      const answer = await fetch(artifact.url, "GET");
      const body = answer && !Buffer.isBuffer(answer) && typeof answer !== "string" ? answer.body : answer;
      return { status: 200, headers: {}, body: body ?? "" };
    },
    refuse,
  };
}

export async function ask(
  registry: Registry,
  desk: Desk,
  path: string,
  more: Partial<RegistryRequest> = {},
): Promise<{ status: number; body: string; reply: Reply }> {
  const request: RegistryRequest = { method: "GET", path, accept: "*/*", base: "http://packages.test/", ...more };
  const reply = await registry.answer(request, desk);
  const { body } = reply;
  const bytes = typeof body === "string" || Buffer.isBuffer(body) ? Buffer.from(body) : await buffer(body);
  return { status: reply.status, body: bytes.toString("utf8"), reply };
}
