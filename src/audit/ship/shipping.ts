import { join } from "node:path";
import { type LoggingFacts, NO_LAG, NOBODY_RECEIVES } from "../../policy/logging.ts";
import { openSink } from "../sinks/open.ts";
import type { SinkSettings } from "../sinks/settings.ts";
import type { SinkPorts } from "../sinks/sink.ts";
import type { SinkNews } from "./health.ts";
import { Shipper } from "./shipper.ts";

/** An outage of one sink begins or ends. */
export type SinkChange = SinkNews & { readonly sink: string };

export interface ShippingOptions {
  readonly sinks: readonly SinkSettings[];
  readonly dataDirectory: string;
  readonly auditDirectory: string;
  readonly ports: SinkPorts;
  /** Told when a sink's outage begins, and when it is over. */
  readonly tell: (change: SinkChange) => void;
}

export interface Shipping extends AsyncDisposable {
  /** Of the sink that has most to catch up with. Where there is none, and where it is not known of one of them, as far as can be. */
  lag(): LoggingFacts;
}

/** Where a sink keeps its cursor, lock and status. */
export function sinkDirectory(dataDirectory: string, name: string): string {
  return join(dataDirectory, "sinks", name);
}

/** Ships the log to every sink that is configured, each for itself. Nothing here waits for a receiver, and none can make it fail. */
export function openShipping({ sinks, dataDirectory, auditDirectory, ports, tell }: ShippingOptions): Shipping {
  const shippers = sinks.map(
    (settings) =>
      new Shipper({
        auditDirectory,
        directory: sinkDirectory(dataDirectory, settings.name),
        open: () => openSink(settings, ports),
        hide: ports.hide,
        tell: (news) => tell({ sink: settings.name, ...news }),
      }),
  );
  return {
    lag: () => {
      if (shippers.length === 0) return NOBODY_RECEIVES;
      let most = NO_LAG;
      for (const shipper of shippers) {
        const lag = shipper.lag();
        if (!lag) return NOBODY_RECEIVES;
        const lagRecords = Math.max(most.lagRecords, lag.records);
        most = { lagRecords, lagSeconds: Math.max(most.lagSeconds, Math.floor(lag.seconds)) };
      }
      return most;
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all(shippers.map((it) => it[Symbol.asyncDispose]()));
    },
  };
}
