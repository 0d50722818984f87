import { join } from "node:path";
import { openSink } from "../sinks/open.ts";
import type { SinkSettings } from "../sinks/settings.ts";
import type { SinkPorts } from "../sinks/sink.ts";
import type { SinkNews } from "./health.ts";
import { type Lag, Shipper } from "./shipper.ts";

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
  /** Of the sink that has most to catch up with; undefined: it is not known of one of them. */
  lag(): Lag | undefined;
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
        tell: (news) => tell({ sink: settings.name, ...news }),
      }),
  );
  return {
    lag: () => {
      let most: Lag = { records: 0, seconds: 0 };
      for (const shipper of shippers) {
        const lag = shipper.lag();
        if (!lag) return undefined;
        most = { records: Math.max(most.records, lag.records), seconds: Math.max(most.seconds, lag.seconds) };
      }
      return most;
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all(shippers.map((it) => it[Symbol.asyncDispose]()));
    },
  };
}
