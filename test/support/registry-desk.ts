import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import type { Artifact, Desk, Document, DocumentOptions, Release, Reply } from "../../src/packages/registry.ts";
import type { Verdict } from "../../src/policy/verdict.ts";

/** What an upstream answers: a body, or more of it. */
export type Upstream =
  | string
  | { body?: string; contentType?: string; headers?: Record<string, string>; status?: number };

export interface DeskLog {
  readonly asked: string[];
  readonly delivered: { release: Release; artifact: Artifact; others: readonly Release[] }[];
  readonly refused: { name: string; version?: string; reason: string }[];
}

type Decide = (release: Release, artifact?: Artifact) => boolean;

/** A desk with a map in the place of the upstream, and a function in that of policy. What is not in the map is 404. */
export function fakeDesk(
  root: string,
  documents: Readonly<Record<string, Upstream>>,
  permits: Decide = () => true,
): Desk & DeskLog {
  return deskOf(root, permits, async (url) => {
    const found = documents[url] ?? { status: 404 };
    const {
      body = "",
      contentType = "text/html",
      headers = {},
      status = 200,
    } = typeof found === "string" ? { body: found } : found;
    return { status, contentType, headers, body: Buffer.from(body), url };
  });
}

/** A desk in front of a real registry. What is delivered is fetched, and checked against what the registry promises. */
export function realDesk(root: string, permits: Decide = () => true): Desk & DeskLog {
  const desk = deskOf(root, permits, async (url, { method = "GET", accept = "*/*" } = {}) => {
    const response = await fetch(url, { method, headers: { accept }, signal: AbortSignal.timeout(120_000) });
    const [contentType = ""] = (response.headers.get("content-type") ?? "").split(";");
    const body = Buffer.from(await response.arrayBuffer());
    const headers = Object.fromEntries(response.headers);
    return { status: response.status, contentType, headers, body, url: response.url };
  });
  return {
    ...desk,
    deliver: async (release, artifact, others) => {
      const reply = await desk.deliver(release, artifact, others);
      if (reply.status !== 200) return reply;
      const { body } = await desk.document(artifact.url);
      for (const { algorithm, hex } of artifact.integrity) {
        assert.equal(createHash(algorithm).update(body).digest("hex"), hex);
      }
      return { ...reply, body };
    },
  };
}

function deskOf(
  root: string,
  permits: Decide,
  document: (url: string, options?: DocumentOptions) => Promise<Document>,
): Desk & DeskLog {
  const log: DeskLog = { asked: [], delivered: [], refused: [] };
  const verdict = (release: Release, artifact?: Artifact): Verdict =>
    permits(release, artifact)
      ? { permitted: true, reason: "", policies: [] }
      : { permitted: false, reason: "the test says no", policies: ["test"] };
  const refuse = (subject: { name: string; version?: string }, reason: string): Reply => {
    log.refused.push({ ...subject, reason });
    return { status: 403, headers: {}, body: reason };
  };
  return {
    ...log,
    root: () => root,
    roots: [root],
    document: (url, options) => {
      log.asked.push(`${options?.method ?? "GET"} ${url}`);
      return document(url, options);
    },
    verdict,
    refuse,
    deliver: async (release, artifact, others) => {
      const { permitted, reason } = verdict(release, artifact);
      if (!permitted) return refuse({ name: release.name, version: release.version }, reason);
      log.delivered.push({ release, artifact, others });
      return { status: 200, headers: {}, body: "the file" };
    },
  };
}
