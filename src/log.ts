import { type Logger, pino } from "pino";

export type { Logger };

export const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "silent"] as const;

/** The gateway's own log: JSON lines on stderr (stdout belongs to MCP). Synchronous, so that a crash loses nothing. */
export function createLog(level: (typeof LOG_LEVELS)[number]): Logger {
  return pino(
    {
      level,
      base: { name: "glovebox", pid: process.pid },
      redact: { paths: ["*.password", "*.token", "*.secret", "*.authorization", "env", "*.env"], censor: "[redacted]" },
    },
    pino.destination({ dest: 2, sync: true }),
  );
}
