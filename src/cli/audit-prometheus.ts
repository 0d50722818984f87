import type { Extent } from "../audit/extent.ts";
import type { SinkState, SinkStatus } from "../audit/ship/status.ts";

const STATES = ["current", "unreached", "behind", "failing", "stopped"] as const satisfies readonly SinkState[];

interface Sample {
  readonly labels?: Readonly<Record<string, string>>;
  readonly value: number;
}

/**
 * Lines in Prometheus' text exposition format, version 0.0.4. Names are stable: dashboards and alerts are made of them. Labels are names of
 * sinks and states, which need no escaping.
 */
export function prometheusText(log: Extent, sinks: readonly SinkStatus[]): string[] {
  const each = (value: (sink: SinkStatus) => number | undefined): Sample[] =>
    sinks.flatMap((it) => {
      const found = value(it);
      return found === undefined ? [] : [{ labels: { sink: it.name }, value: found }];
    });
  return [
    ...metric("audit_chains", "gauge", "Chains of the audit log.", [{ value: log.chains }]),
    ...metric("audit_records", "gauge", "Records in the audit log.", [{ value: log.records }]),
    ...metric("audit_bytes", "gauge", "Size of the audit log's segments.", [{ value: log.bytes }]),
    ...metric(
      "audit_newest_record_timestamp_seconds",
      "gauge",
      "When the newest record was written.",
      moment(log.newest),
    ),
    ...metric(
      "audit_oldest_record_timestamp_seconds",
      "gauge",
      "When the oldest record was written.",
      moment(log.oldest),
    ),
    ...metric(
      "sink_lag_records",
      "gauge",
      "Records that the sink has not confirmed.",
      each((it) => it.lag.records),
    ),
    ...metric(
      "sink_lag_bytes",
      "gauge",
      "Bytes that the sink has not confirmed.",
      each((it) => it.lag.bytes),
    ),
    ...metric(
      "sink_lag_seconds",
      "gauge",
      "Age of the oldest record that the sink has not confirmed; +Inf: unknown.",
      each((it) => it.lag.seconds ?? Number.POSITIVE_INFINITY),
    ),
    ...metric(
      "sink_delivered_records",
      "gauge",
      "Records that the sink has confirmed, each counted once.",
      each((it) => it.delivered),
    ),
    ...metric(
      "sink_failures",
      "gauge",
      "Deliveries in a row that failed, until now.",
      each((it) => it.lastError?.failures ?? 0),
    ),
    ...metric(
      "sink_stopped_chains",
      "gauge",
      "Chains that cannot be shipped because they are damaged.",
      each((it) => it.stopped.length),
    ),
    ...metric(
      "sink_shipping",
      "gauge",
      "1 while a process ships to the sink.",
      each((it) => (it.pid === undefined ? 0 : 1)),
    ),
    ...metric(
      "sink_last_success_timestamp_seconds",
      "gauge",
      "When the sink last confirmed records.",
      each((it) => seconds(it.lastSuccess)),
    ),
    ...metric(
      "sink_last_error_timestamp_seconds",
      "gauge",
      "When shipping to the sink last failed, whether or not it succeeded since.",
      each((it) => seconds(it.lastError?.time)),
    ),
    ...metric(
      "sink_state",
      "gauge",
      "1 for the state that the sink is in.",
      sinks.flatMap(({ name, state }) =>
        STATES.map((it) => ({ labels: { sink: name, state: it }, value: it === state ? 1 : 0 })),
      ),
    ),
  ];
}

function metric(name: string, type: "gauge", help: string, samples: readonly Sample[]): string[] {
  if (samples.length === 0) return [];
  const full = `glovebox_${name}`;
  return [
    `# HELP ${full} ${help}`,
    `# TYPE ${full} ${type}`,
    ...samples.map(({ labels = {}, value }) => {
      const pairs = Object.entries(labels).map(([label, text]) => `${label}="${text}"`);
      return `${full}${pairs.length === 0 ? "" : `{${pairs.join(",")}}`} ${value === Number.POSITIVE_INFINITY ? "+Inf" : value}`;
    }),
  ];
}

function moment(time: string | undefined): Sample[] {
  const value = seconds(time);
  return value === undefined ? [] : [{ value }];
}

function seconds(time: string | undefined): number | undefined {
  return time === undefined ? undefined : Date.parse(time) / 1000;
}
