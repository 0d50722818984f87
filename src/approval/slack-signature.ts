import { createHmac, timingSafeEqual } from "node:crypto";

/** How old a request of Slack's may be, in seconds: what Slack's own documentation advises. */
const TOLERANCE_SECONDS = 300;
/** Signatures remembered at once. Only signed requests count, so no stranger can fill it. */
const MAX_REMEMBERED = 10_000;

export interface SlackSignature {
  /** `X-Slack-Request-Timestamp`, in seconds. */
  readonly timestamp: string;
  /** `X-Slack-Signature`. */
  readonly signature: string;
  /** As it came. */
  readonly body: Buffer;
}

/**
 * What is wrong with a signed request, in words; `undefined`: nothing. The signature is `v0=` and the hexadecimal HMAC-SHA256 of
 * `v0:timestamp:body` (https://docs.slack.dev/authentication/verifying-requests-from-slack).
 */
export function slackProblem(
  key: string,
  { timestamp, signature, body }: SlackSignature,
  nowMs: number,
): string | undefined {
  if (!/^[0-9]{1,12}$/.test(timestamp)) return "its timestamp is not in seconds";
  const expected = createHmac("sha256", key).update(`v0:${timestamp}:`).update(body).digest();
  const given = Buffer.from(/^v0=([0-9a-f]{64})$/.exec(signature)?.[1] ?? "", "hex");
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
    return "it is not signed with the signing secret";
  }
  if (Math.abs(nowMs / 1000 - Number(timestamp)) <= TOLERANCE_SECONDS) return undefined;
  return "it was signed more than five minutes ago, or this computer's clock is wrong";
}

/** Signatures that were seen, for as long as they would be accepted. */
export class SeenSignatures {
  readonly #until = new Map<string, number>();

  /** Whether it is seen for the first time. What can't be remembered counts as seen. */
  isNew({ signature, timestamp }: SlackSignature, nowMs: number): boolean {
    // Oldest first, near enough: one that outlives its time behind a younger one does no harm.
    for (const [it, untilMs] of this.#until) {
      if (untilMs >= nowMs) break;
      this.#until.delete(it);
    }
    if (this.#until.has(signature) || this.#until.size >= MAX_REMEMBERED) return false;
    this.#until.set(signature, (Number(timestamp) + TOLERANCE_SECONDS) * 1000);
    return true;
  }
}
