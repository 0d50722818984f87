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
  const { permitted, reason } = desk.verdict(release, artifact);
  if (!permitted) return desk.refuse({ name: release.name, version: release.version }, reason);
  return { status: 200, headers: { "content-type": "application/octet-stream" }, body: "" };
}
