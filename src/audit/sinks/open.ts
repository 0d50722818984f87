import type { SinkSettings } from "./settings.ts";
import type { Sink, SinkPorts } from "./sink.ts";

/** Which driver a type of sink has; each is loaded when it is used. @throws GatewayError CONFIG_INVALID, or what the driver throws */
export async function openSink(settings: SinkSettings, ports: SinkPorts): Promise<Sink> {
  switch (settings.type) {
    case "https":
      return (await import("./https.ts")).openHttpsSink(settings, ports);
    case "otlp":
      return (await import("./otlp.ts")).openOtlpSink(settings, ports);
    case "pino":
      return (await import("./pino.ts")).openPinoSink(settings, ports);
    case "postgres":
      return (await import("./postgres.ts")).openPostgresSink(settings, ports);
    case "syslog":
      return (await import("./syslog.ts")).openSyslogSink(settings, ports);
  }
}
