import type { AuditLog } from "./audit/log.ts";
import type { SinkChange } from "./audit/ship/shipping.ts";
import type { SinkPorts } from "./audit/sinks/sink.ts";
import { VERSION } from "./config.ts";
import type { KnownSecrets } from "./egress/hide.ts";
import { readAsItAges } from "./egress/secret-value.ts";
import type { TunnelThrough } from "./egress/upstream-proxy.ts";
import type { Logger } from "./log.ts";

export interface Surroundings {
  /** In PEM. */
  readonly authorities: () => Promise<readonly string[]>;
  /** Where the network's own proxy is the only way out. */
  readonly upstreamProxy: TunnelThrough | undefined;
  /** Is told each secret of a sink as it is read. */
  readonly known: KnownSecrets;
  /** Aborts when secrets are read no more. */
  readonly ending: AbortSignal;
}

/** What sinks are given, in a gateway and at the command line. */
export function sinkPorts({ authorities, upstreamProxy, known, ending }: Surroundings): SinkPorts {
  return {
    authorities,
    secret: (name, source) => readAsItAges(`logging.sinks.${name}`, source, ending, known.add),
    hide: known.hide,
    ...(upstreamProxy && { through: upstreamProxy }),
    version: VERSION,
  };
}

/** Not waited for: a log that can't be written is told of by every call. */
export function tellOfSink({ event, ...facts }: SinkChange, audit: AuditLog, log: Logger): void {
  if (event === "logging-failed") log.warn(facts, "a receiver of the audit log gets nothing; calls go on");
  else log.info(facts, "a receiver of the audit log gets records again");
  audit
    .append({ kind: "event", event, facts: { ...facts } })
    .catch((err: unknown) => log.warn({ err }, "not on record"));
}
