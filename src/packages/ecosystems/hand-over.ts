import { isOpen } from "../../policy/verdict.ts";
import type { Artifact, Desk, RegistryRequest, Release, Reply } from "../registry.ts";

/** A file that was asked for: on its way in, or, for HEAD, what would be answered. */
export function handOver(
  request: RegistryRequest,
  desk: Desk,
  release: Release,
  artifact: Artifact,
  others: readonly Release[],
): Promise<Reply> | Reply {
  if (request.method === "GET") return desk.deliver(release, artifact, others);
  const verdict = desk.verdict(release, artifact);
  if (!isOpen(verdict)) return desk.refuse({ name: release.name, version: release.version }, verdict.reason);
  return { status: 200, headers: { "content-type": "application/octet-stream" }, body: "" };
}
