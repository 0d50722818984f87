import type { Process } from "../session/process.ts";
import { readable } from "./render.ts";

const INTERVAL_MS = 250;
/** A program that prints nothing is still heard of: clients give up on a call of which they hear nothing. */
const HEARTBEAT_MS = 5_000;
const MAX_BYTES = 1_024;

/** Tells whoever waits what the program prints, the latest of it, until the answered function is called. */
export function reportOutput(process: Process, progress: (message: string) => void): () => void {
  let fresh = Buffer.alloc(0);
  let latest = "";
  let toldAtMs = performance.now() - INTERVAL_MS;

  function tell(): void {
    const sinceMs = performance.now() - toldAtMs;
    if (fresh.length > 0 && sinceMs >= INTERVAL_MS) {
      latest = readable(fresh.toString("utf8")).trimEnd();
      fresh = Buffer.alloc(0);
      progress(latest);
    } else if (sinceMs >= HEARTBEAT_MS) {
      const seconds = Math.round(process.durationMs / 1_000);
      progress(latest === "" ? `running for ${seconds} s` : `running for ${seconds} s, last: ${latest}`);
    } else return;
    toldAtMs = performance.now();
  }

  const stopListening = process.onOutput((chunk) => {
    fresh = Buffer.concat([fresh, chunk.subarray(-MAX_BYTES)]).subarray(-MAX_BYTES);
    tell();
  });
  const ticker = setInterval(tell, INTERVAL_MS);
  return () => {
    clearInterval(ticker);
    stopListening();
  };
}
