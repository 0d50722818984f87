import { once } from "node:events";
import { pipeline, type Readable } from "node:stream";
import { pipeline as piped } from "node:stream/promises";
import { GatewayError } from "../errors.ts";
import type { PackageFacts } from "../policy/package.ts";
import type { Verdict } from "../policy/verdict.ts";
import type { CachedFile, Keeping, PackageCache } from "./cache/cache.ts";
import { follow, type HttpAnswer, hostOf, type SendHttp } from "./http.ts";
import type { Artifact, Integrity, Release, Reply } from "./registry.ts";
import type { Admitted } from "./session-packages.ts";
import type { Source } from "./source.ts";
import { type Checked, Tampered, verifying } from "./verifying.ts";

/** A file that policy lets into the sandbox. */
export interface Delivery {
  readonly release: Release;
  readonly artifact: Artifact;
  readonly facts: PackageFacts;
  readonly source: Source;
  readonly verdict: Verdict;
}

/** @throws GatewayError REGISTRY_FAILED; what goes wrong later ends the reply before its end */
export type Deliver = (delivery: Delivery, signal: AbortSignal) => Promise<Reply>;

export interface DeliveryPorts {
  readonly send: SendHttp;
  readonly cache: PackageCache;
  /** Resolves when it is on record: only then the program gets the end of the file. @throws GatewayError AUDIT_UNWRITABLE */
  readonly admit: (admitted: Admitted, verdict: Verdict) => Promise<void>;
  /** Of a file that broke off, or is not what it should be: the program got a part of it, which is no use to it. */
  readonly onFailure: (delivery: Delivery, error: Error) => void;
}

/** Strongest first; the cache's key. */
const STRENGTH: readonly Integrity["algorithm"][] = ["sha512", "sha384", "sha256", "h1", "sha1"];

export function createDelivery({ send, cache, admit, onFailure }: DeliveryPorts): Deliver {
  return async (delivery, signal) => {
    const { artifact, source } = delivery;
    const key = artifact.integrity.toSorted(byStrength)[0];
    const cached = key && (await cache.open(key, signal));
    if (cached) return await fromCache(delivery, cached, true, signal);
    const headers = { accept: "*/*", "accept-encoding": "identity", "user-agent": "glovebox" };
    const answer = await follow(send, source, { method: "GET", url: new URL(artifact.url), headers, signal });
    if (answer.status !== 200 || (answer.headers["content-encoding"] ?? "identity") !== "identity") {
      answer.stream.destroy();
      const what = answer.status === 200 ? "a compressed file, which was not asked for" : `status ${answer.status}`;
      throw new GatewayError("REGISTRY_FAILED", `\`${hostOf(answer.url)}\` answered with ${what}`);
    }
    const keeping = key && (await cache.keep(key));
    if (key?.algorithm === "h1") return await throughCache(delivery, key, keeping, answer, signal);
    const promised = sizeOf(answer);
    const check = verifying(artifact.integrity, promised, async (checked) => {
      await record(delivery, checked, false);
      await keeping?.commit();
    });
    const streams = [answer.stream, ...(keeping ? [keeping.stream] : []), check] as const;
    return await started(streams, promised, delivery, signal, async () => keeping?.[Symbol.asyncDispose]());
  };

  /** The digest is over what is in the zip: it is checked when it is there as a whole. */
  async function throughCache(
    delivery: Delivery,
    key: Integrity,
    keeping: Keeping | undefined,
    answer: HttpAnswer,
    signal: AbortSignal,
  ): Promise<Reply> {
    if (!keeping) throw new GatewayError("REGISTRY_FAILED", "the host has no room to check it");
    await using kept = keeping;
    await piped(answer.stream, kept.stream, async (chunks) => {
      for await (const _ of chunks);
    }).catch((cause: unknown) => {
      throw new GatewayError("REGISTRY_FAILED", "its registry broke off", { cause });
    });
    await kept.commit();
    const checked = await cache.open(key, signal);
    if (!checked)
      throw new Tampered("it is not what the checksum database promises, or the host has no room to check it");
    return await fromCache(delivery, checked, false, signal);
  }

  async function fromCache(delivery: Delivery, file: CachedFile, cached: boolean, signal: AbortSignal): Promise<Reply> {
    const check = verifying([], file.sizeBytes, async (checked) => {
      // INVARIANT: what was checked when it was opened is what is sent.
      if (checked.sha256 !== file.sha256) throw new Tampered("the cached file changed while it was read");
      await record(delivery, checked, cached);
    });
    return await started([file.read(), check], file.sizeBytes, delivery, signal, async () => undefined);
  }

  /**
   * Resolves when there is something to pass on. What fails before can be told in words, what fails later ends the body before its end.
   * @throws GatewayError REGISTRY_FAILED
   */
  async function started(
    streams: readonly Readable[],
    bytes: number | undefined,
    delivery: Delivery,
    signal: AbortSignal,
    ended: () => Promise<void>,
  ): Promise<Reply> {
    let isTold = false;
    const { promise: failed, reject } = Promise.withResolvers<never>();
    failed.catch(() => undefined);
    const body = pipeline([...streams], (error) => {
      void ended();
      if (!error) return;
      const why =
        error instanceof GatewayError
          ? error
          : new GatewayError("REGISTRY_FAILED", "its registry broke off", { cause: error });
      reject(why);
      if (isTold && !signal.aborted) onFailure(delivery, why);
    }) as unknown as Readable;
    await Promise.race([once(body, "readable").catch(() => failed), failed]);
    isTold = true;
    const length = bytes === undefined ? {} : { "content-length": String(bytes) };
    return { status: 200, headers: { "content-type": "application/octet-stream", ...length }, body };
  }

  async function record({ facts, artifact, verdict }: Delivery, checked: Checked, cached: boolean): Promise<void> {
    const { purl, ecosystem, name, version, registry, licenses, ageHours, requested } = facts;
    const [best] = artifact.integrity.toSorted(byStrength);
    const known = {
      ...(best && { integrity: `${best.algorithm}-${best.hex}` }),
      ...(ageHours !== undefined && { ageHours }),
    };
    const { file } = artifact;
    await admit(
      { purl, ecosystem, name, version, file, registry, ...known, ...checked, licenses, requested, cached },
      verdict,
    );
  }
}

function byStrength(a: Integrity, b: Integrity): number {
  return STRENGTH.indexOf(a.algorithm) - STRENGTH.indexOf(b.algorithm);
}

function sizeOf({ headers }: HttpAnswer): number | undefined {
  const text = headers["content-length"] ?? "";
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}
