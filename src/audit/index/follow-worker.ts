import { parentPort, workerData } from "node:worker_threads";
import type { FollowMessage, FollowPlaces } from "./follow.ts";
import { keepUp } from "./keep-up.ts";

/** The thread of `followIndex`: works until it gets a message. */
const ending = new AbortController();
const port = parentPort;
port?.once("message", () => ending.abort());
const tell = (told: FollowMessage) => port?.postMessage(told);

await keepUp({
  ...(workerData as FollowPlaces),
  signal: ending.signal,
  log: {
    info: (facts, message) => tell({ level: "info", facts, message }),
    warn: (facts, message) => tell({ level: "warn", facts, message }),
  },
});
port?.close();
