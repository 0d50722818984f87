import type { AuditWriter, EventBody, Json } from "../audit/record.ts";
import { newId } from "../lib/id.ts";
import { printable } from "../lib/text.ts";
import type { Logger } from "../log.ts";
import type { Verdict } from "../policy/verdict.ts";
import type { Target } from "./gate.ts";

/** Kept for results and for whoever asks. */
const MAX_RECENT = 256;
const MAX_TOLD = 32;
/** So many refusals are recorded at once, and one more each second: a program that tries for ever fills no disk. The others are counted. */
const REFUSALS_AT_ONCE = 64;
const REFUSAL_INTERVAL_MS = 1_000;

export interface TrafficPorts {
  readonly audit: AuditWriter;
  readonly sessionId: string;
  readonly log: Logger;
  /** Calls whose programs run now: one of them is the cause. */
  readonly callsRunning: () => readonly string[];
  /** Told of what programs' connections move, in either direction, as it moves. Must not throw. */
  readonly onBytes?: (bytes: number) => void;
}

/** A connection that policy permits, from its record to its end. */
export interface Passage {
  readonly target: Target;
  sent(bytes: number): void;
  received(bytes: number): void;
  /** A request on it was made; `secret` is the name of what was put into it. */
  request(secrets: readonly string[]): void;
  /** The address that was connected to. */
  reached(address: string): void;
  /** Writes the second record, once. */
  close(): void;
}

export interface Refusal {
  /** For people and models: ``example.org:443` blocked: no policy grants it`. */
  readonly text: string;
  readonly count: number;
}

interface Bucket {
  readonly tokens: number;
  readonly atMs: number;
}

/** What goes out of one session, and what doesn't: in the audit log, and for the results of calls. */
export class Traffic {
  readonly #ports: TrafficPorts;
  /** Texts, the latest last. */
  #recent: string[] = [];
  #number = 0;
  /** By the kind of record: what is common can't keep the log from what is grave. */
  readonly #buckets = new Map<string, Bucket>();
  #unrecorded = 0;

  constructor(ports: TrafficPorts) {
    this.#ports = ports;
  }

  /** Resolves when the permission is on record: nothing leaves before. @throws GatewayError AUDIT_UNWRITABLE */
  async open(target: Target, { policies, approvalId }: Verdict): Promise<Passage> {
    const connectionId = newId("conn");
    const startedMs = performance.now();
    const calls = [...this.#ports.callsRunning()];
    const answered = approvalId === undefined ? {} : { approvalId };
    await this.#record("connection-opened", { connectionId, ...target, policies: [...policies], calls, ...answered });
    let sentBytes = 0;
    let receivedBytes = 0;
    let requests = 0;
    let closed = false;
    let address: string | undefined;
    const used = new Set<string>();
    return {
      target,
      sent: (bytes) => {
        sentBytes += bytes;
        this.#ports.onBytes?.(bytes);
      },
      received: (bytes) => {
        receivedBytes += bytes;
        this.#ports.onBytes?.(bytes);
      },
      request: (secrets) => {
        requests += 1;
        for (const it of secrets) used.add(it);
      },
      reached: (it) => {
        address = it;
      },
      close: () => {
        if (closed) return;
        closed = true;
        const { host, port } = target;
        const durationMs = Math.round(performance.now() - startedMs);
        const counted = { sentBytes, receivedBytes, durationMs, ...(requests > 0 && { requests }) };
        // Not `secrets`: the log would redact what goes under that name.
        const more = {
          ...(address !== undefined && { address }),
          ...(used.size > 0 && { filledIn: [...used].sort() }),
        };
        this.#recordLater("connection-closed", { connectionId, host, port, ...counted, ...more });
      },
    };
  }

  /** `target` is where the program meant to go, as far as it can be told. Answers what to tell of it. */
  refuse(
    target: { readonly host: string; readonly port: number },
    reason: string,
    { event = "connection-refused", policies = [] }: { policies?: readonly string[]; event?: EventBody["event"] } = {},
  ): string {
    const { port } = target;
    const host = printable(target.host, 253);
    const why = printable(reason, 600);
    const text = `\`${host.includes(":") ? `[${host}]` : host}:${port}\` blocked: ${why}`;
    this.refused(event, text, { host, port, reason: why, policies: [...policies] });
    return text;
  }

  /** The same for what is no connection. `text` is shown to whoever asks what was refused. */
  refused(event: EventBody["event"], text: string, facts: { readonly [name: string]: Json }): void {
    this.#number += 1;
    this.#recent = [...this.#recent.slice(1 - MAX_RECENT), text];
    if (!this.#mayRecord(event)) {
      this.#unrecorded += 1;
      return;
    }
    const calls = [...this.#ports.callsRunning()];
    const earlier = this.#unrecorded > 0 ? { unrecordedBefore: this.#unrecorded } : {};
    this.#unrecorded = 0;
    this.#recordLater(event, { ...facts, calls, ...earlier });
  }

  /** For `refusalsSince`. */
  get mark(): number {
    return this.#number;
  }

  /** Each once, the first that happened first. */
  refusalsSince(mark: number): readonly Refusal[] {
    const counts = new Map<string, number>();
    const since = this.#number - mark;
    for (const text of since > 0 ? this.#recent.slice(-since) : []) counts.set(text, (counts.get(text) ?? 0) + 1);
    return [...counts].slice(-MAX_TOLD).map(([text, count]) => ({ text, count }));
  }

  /** Writes what was only counted. */
  close(): void {
    if (this.#unrecorded > 0) this.#recordLater("connection-refused", { unrecordedBefore: this.#unrecorded });
    this.#unrecorded = 0;
  }

  #mayRecord(event: string): boolean {
    const now = performance.now();
    const { tokens, atMs } = this.#buckets.get(event) ?? { tokens: REFUSALS_AT_ONCE, atMs: now };
    const left = Math.min(REFUSALS_AT_ONCE, tokens + (now - atMs) / REFUSAL_INTERVAL_MS);
    this.#buckets.set(event, { tokens: left < 1 ? left : left - 1, atMs: now });
    return left >= 1;
  }

  #record(event: EventBody["event"], facts: Json): Promise<void> {
    return this.#ports.audit.append({ kind: "event", event, sessionId: this.#ports.sessionId, facts });
  }

  /** For what happened already and has no caller to refuse. */
  #recordLater(event: EventBody["event"], facts: Json): void {
    this.#record(event, facts).catch((error: unknown) =>
      this.#ports.log.error({ sessionId: this.#ports.sessionId, event, err: error }, "event not recorded"),
    );
  }
}
