import type { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { GatewayError } from "../errors.ts";

/** What the engine reports of one container, as it happens. */
export interface ContainerEvents {
  /** How often the kernel has killed one of its programs for want of memory, so far. */
  oomKills(): number;
  /** Resolves at the next such kill. */
  nextOomKill(): Promise<void>;
  /** Resolves to the exit code when the exec's program has ended; ask before it is started, `forget` it in the end. */
  execEnded(execId: string): Promise<number>;
  forget(execId: string): void;
}

/** Which events these are, for the engine's filter. */
export const EVENTS = ["oom", "die", "exec_die"];

/** A line longer than this isn't an event. */
const MAX_LINE_CHARS = 65_536;

const attributesSchema = z.object({ execID: z.string(), exitCode: z.coerce.number().int().min(0).max(255) });
const eventSchema = z.object({
  Action: z.string(),
  Actor: z.object({ Attributes: attributesSchema.partial() }),
});

/**
 * Follows a container's events. `onEnd` hears once why there will be no more: a GatewayError when the container's first process
 * has ended or the engine talks nonsense, the connection's error when it broke, nothing when it ended. Events are a hint from the guest: a false one can mislead about a program's end, which the guest could fake anyway.
 */
export function followEvents(stream: Readable, onEnd: (reason?: unknown) => void): ContainerEvents {
  const execs = new Map<string, PromiseWithResolvers<number>>();
  let kills = 0;
  let nextKill = Promise.withResolvers<void>();
  const take = (line: string) => {
    const event = eventSchema.parse(JSON.parse(line));
    const { execID, exitCode } = event.Actor.Attributes;
    if (event.Action === "oom") {
      kills += 1;
      nextKill.resolve();
      nextKill = Promise.withResolvers();
    } else if (event.Action === "exec_die" && execID !== undefined) {
      if (exitCode !== undefined) execs.get(execID)?.resolve(exitCode);
    } else if (event.Action === "die") {
      throw new GatewayError("CONTAINER_FAILED", "the sandbox's first process has ended");
    }
  };
  followLines(stream, take).then(
    () => onEnd(),
    (error: unknown) => onEnd(asReason(error)),
  );
  return {
    oomKills: () => kills,
    nextOomKill: () => nextKill.promise,
    execEnded: (execId) => {
      const ended = execs.get(execId) ?? Promise.withResolvers<number>();
      execs.set(execId, ended);
      return ended.promise;
    },
    forget: (execId) => execs.delete(execId),
  };
}

/** Whether memory ran out after `since` kills had been counted; the report may come a little after the program's end. */
export async function oomKilledSince(events: ContainerEvents, since: number, graceMs: number): Promise<boolean> {
  if (events.oomKills() > since) return true;
  await Promise.race([events.nextOomKill(), sleep(graceMs)]);
  return events.oomKills() > since;
}

async function followLines(stream: Readable, take: (line: string) => void): Promise<void> {
  let rest = "";
  for await (const chunk of stream.setEncoding("utf8") as AsyncIterable<string>) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop() ?? "";
    if (rest.length > MAX_LINE_CHARS) throw new GatewayError("CHANNEL_VIOLATION", "an event of the engine is too long");
    for (const line of lines) if (line.trim() !== "") take(line);
  }
}

function asReason(error: unknown): unknown {
  if (!(error instanceof SyntaxError || error instanceof z.ZodError)) return error;
  return new GatewayError("CHANNEL_VIOLATION", "an event of the engine can't be read", { cause: error });
}
