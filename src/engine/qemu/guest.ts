import { randomBytes } from "node:crypto";
import { z } from "zod";
import type { Channel } from "../channel.ts";
import type { GuestFacts } from "../engine.ts";

const guestFacts = z.strictObject({
  bootId: z.string().regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/),
  kernelRelease: z.string().regex(/^[\w.+~-]{1,100}$/),
});
const nothing = z.strictObject({});

/**
 * Gives the guest the time and fresh randomness, which a copy and a machine that stood still need before any program of the
 * agent runs or goes on, and its container the name `hostname` if there is one.
 */
export async function beginGuest(channel: Channel, hostname: string, signal: AbortSignal): Promise<GuestFacts> {
  const entropy = randomBytes(32).toString("base64");
  return await channel.ask("/begin", { unixTimeMs: Date.now(), entropy, hostname }, guestFacts, signal);
}

/** Resolves when the guest's container engine answers. */
export async function awaitEngine(channel: Channel, signal: AbortSignal): Promise<void> {
  await channel.ask("/engine", {}, nothing, signal);
}

/**
 * Has the guest's container stand still until `beginGuest`, and the guest look out for the host of a copy: that one sends it the
 * answered bytes, and gets them back when the guest has forgotten everything that it was about to say to this one.
 */
export async function settleGuest(channel: Channel, signal: AbortSignal): Promise<Buffer> {
  const marker = randomBytes(32);
  await channel.ask("/settle", { marker: marker.toString("base64") }, nothing, signal);
  return marker;
}
