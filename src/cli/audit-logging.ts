import type { SinkSettings } from "../audit/sinks/settings.ts";
import type { SinkPorts } from "../audit/sinks/sink.ts";
import { GatewayError } from "../errors.ts";
import { printable } from "../lib/text.ts";

/** What commands about central logging are given. */
export interface LoggingContext {
  readonly dataDirectory: (dataDir: string | undefined) => string;
  /** The audit directory below a data directory. */
  readonly directory: (dataDir: string | undefined) => string;
  /** Those that settings name. @throws GatewayError CONFIG_INVALID, ORGANISATION_POLICY */
  readonly sinks: (config: string | undefined) => Promise<readonly SinkSettings[]>;
  /** @param signal ends the reading of secrets */
  readonly ports: (signal: AbortSignal) => SinkPorts;
}

/** All sinks, or the one that is meant. @throws GatewayError INVALID_ARGUMENTS, CONFIG_INVALID */
export async function meantSinks(
  context: LoggingContext,
  { config, sink }: { readonly config?: string; readonly sink?: string },
): Promise<readonly SinkSettings[]> {
  const sinks = await context.sinks(config);
  if (sink === undefined) return sinks;
  const meant = sinks.find((it) => it.name === sink);
  if (meant) return [meant];
  const names = sinks.map((it) => `\`${it.name}\``).join(", ") || "none";
  throw new GatewayError("INVALID_ARGUMENTS", `there is no sink \`${printable(sink, 100)}\`; configured: ${names}`);
}
