import { createHash, randomUUID } from "node:crypto";
import type { Question } from "../../src/approval/approval.ts";
import { GatewayError } from "../../src/errors.ts";
import { createOutbound, type OutboundPorts, type SendOutbound } from "../../src/lib/outbound.ts";
import { readWebhookKey } from "../../src/lib/webhook-signature.ts";

export const WEBHOOK_SECRET = `whsec_${Buffer.from("0123456789abcdef0123456789abcdef").toString("base64")}`;

/** The key in `WEBHOOK_SECRET`, or in another. */
export function webhookKey(secret = WEBHOOK_SECRET): Buffer {
  const key = readWebhookKey(secret);
  if (!key) throw new Error("no key in it");
  return key;
}

/** Requests as approvals send them. */
export function approvalsOutbound(ports: Omit<OutboundPorts, "failed">): SendOutbound {
  const failed = (message: string, cause?: unknown) => new GatewayError("APPROVAL_CHANNEL_FAILED", message, { cause });
  return createOutbound({ ...ports, failed });
}

/** A question as the desk would put it. */
export function questionOf(over: Partial<Question> = {}): Question {
  const id = `apr_${randomUUID()}`;
  return {
    id,
    digest: createHash("sha256").update(id).digest("hex"),
    sessionId: "ses-1",
    principal: { id: "local:ada", client: { name: "a client", version: "1.2.3" }, transport: "stdio" },
    callId: "call-1",
    action: "exec",
    details: [
      { label: "argv", text: '["git","push","origin","main"]' },
      { label: "cwd", text: "/workspace" },
    ],
    policies: [{ id: "ask.cedar#push", effect: "forbid", reason: "pushing needs a second pair of eyes" }],
    bundle: { name: "acme", version: "1.0.0", digest: `sha256:${"a".repeat(64)}` },
    pattern: "exec of git push …",
    askedAt: new Date().toISOString(),
    expiresAt: new Date(Date.now() + 600_000).toISOString(),
    ...over,
  };
}

/** What was logged, as text. */
export interface TestLog {
  readonly lines: string[];
  warn(...parts: unknown[]): void;
  debug(...parts: unknown[]): void;
}

export function testLog(): TestLog {
  const lines: string[] = [];
  const add = (...parts: unknown[]) => {
    const texts = parts.map((it) => {
      const error = typeof it === "object" && it !== null && "err" in it ? it.err : undefined;
      return typeof it === "string" ? it : `${JSON.stringify(it)}${error instanceof Error ? error.message : ""}`;
    });
    lines.push(texts.join(" "));
  };
  return { lines, warn: add, debug: add };
}
