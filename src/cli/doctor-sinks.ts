import type { SecureContextOptions } from "node:tls";
import { openSink } from "../audit/sinks/open.ts";
import { certificatesIn, identityIn } from "../audit/sinks/pem-files.ts";
import type { SinkSettings } from "../audit/sinks/settings.ts";
import type { SinkPorts } from "../audit/sinks/sink.ts";
import { asGatewayError, GatewayError } from "../errors.ts";
import { deadline } from "../lib/deadline.ts";
import { codeOf, messageOf } from "../lib/error.ts";
import { printable } from "../lib/text.ts";
import type { Secret, SecretSource } from "../policy/secret.ts";
import type { Finding } from "./doctor.ts";
import { placeOf, reach } from "./doctor-sink-reach.ts";

export interface SinkChecks {
  /** Those that settings name. @throws GatewayError CONFIG_INVALID, ORGANISATION_POLICY */
  readonly sinks: () => Promise<readonly SinkSettings[]>;
  readonly ports: (signal: AbortSignal) => SinkPorts;
  /** Why a secret can't be had now; commands are not run. */
  readonly secretProblem: (secret: Pick<Secret, "name" | "source">) => Promise<string | undefined>;
}

interface Problem {
  readonly status: "warn" | "fail";
  readonly text: string;
  readonly fix: string;
}

const REACH_MS = 5_000;

/** Whether each sink could take records: its settings, secrets and files, and whether there is somebody where it leads. None is sent a record. */
export async function examineSinks(checks: SinkChecks, timeoutMs = REACH_MS): Promise<Finding[]> {
  try {
    const sinks = await checks.sinks();
    if (sinks.length === 0)
      return [{ name: "logging", status: "ok", detail: "no sinks: the log stays on this computer" }];
    return await Promise.all(sinks.map((it) => examineSink(it, checks, timeoutMs)));
  } catch (error) {
    const { message, fix } = asGatewayError(error);
    return [{ name: "logging", status: "fail", detail: `sinks are not checked: ${message}`, fix }];
  }
}

async function examineSink(settings: SinkSettings, checks: SinkChecks, timeoutMs: number): Promise<Finding> {
  const name = `sink ${settings.name}`;
  const closing = new AbortController();
  const ports = checks.ports(closing.signal);
  const secrets = secretsOf(settings);
  const problems: Problem[] = (await Promise.all(secrets.map((it) => secretFault(it, checks)))).flat();
  const unchecked = secrets.flatMap(({ name: of, source }) =>
    "command" in source ? [`\`${of}\`, whose command is not run`] : [],
  );
  let reached: string | undefined;
  try {
    await using sink = await openSink(settings, ports);
    const identity = await identityOf(settings, ports);
    const place = placeOf(settings);
    if (place) {
      await reachIn(timeoutMs, (signal) => reach(place, identity, ports.through, signal));
      reached = `${sink.target} answers`;
      unchecked.push("whether it takes records");
    } else unchecked.push(`whether ${sink.target} takes records`);
  } catch (error) {
    problems.push(faultOf(error, settings.type));
  } finally {
    closing.abort();
  }
  const not = unchecked.length === 0 ? [] : [`not checked: ${unchecked.join(", ")}`];
  const detail = [...problems.map(({ text }) => text), ...(reached === undefined ? [] : [reached]), ...not].join("; ");
  const shown = { name, detail: printable(detail, 2_000) };
  if (problems.length === 0) return { ...shown, status: "ok" };
  const fix = [...new Set(problems.map((it) => it.fix))].join("; ");
  return { ...shown, status: problems.some(({ status }) => status === "fail") ? "fail" : "warn", fix };
}

function secretsOf(settings: SinkSettings): { readonly name: string; readonly source: SecretSource }[] {
  const named: Readonly<Record<string, SecretSource | undefined>> = (() => {
    switch (settings.type) {
      case "https":
        return { token: settings.token, signingSecret: settings.signingSecret };
      case "otlp":
        return settings.headers;
      case "postgres":
        return { password: settings.password };
      case "pino":
      case "syslog":
        return {};
    }
  })();
  return Object.entries(named).flatMap(([name, source]) => (source === undefined ? [] : [{ name, source }]));
}

async function secretFault(secret: ReturnType<typeof secretsOf>[number], checks: SinkChecks): Promise<Problem[]> {
  const text = await checks.secretProblem(secret);
  if (text === undefined) return [];
  const { source } = secret;
  // This environment need not be that of gateways.
  if ("env" in source && process.env[source.env] === undefined) {
    const fix = `set \`${source.env}\` where the MCP client has the server's environment, or keep the secret in a \`file\``;
    return [{ status: "warn", text: `\`${source.env}\`, for \`${secret.name}\`, is not in this environment`, fix }];
  }
  return [{ status: "fail", text, fix: "docs/logging.md says how a secret is kept" }];
}

/** What TLS is given, as drivers do: `https` and `syslog` trust the authorities of `ca` and no others. */
async function identityOf(settings: SinkSettings, ports: SinkPorts): Promise<SecureContextOptions> {
  if (settings.type === "pino") return {};
  const own = settings.ca === undefined ? undefined : await certificatesIn(settings.ca);
  const others =
    own !== undefined && (settings.type === "https" || settings.type === "syslog") ? [] : await ports.authorities();
  const client = settings.type === "otlp" ? undefined : settings.clientCertificate;
  return {
    ca: [...others, ...(own === undefined ? [] : [own])],
    ...(client && (await identityIn(client))),
  };
}

async function reachIn(timeoutMs: number, attempt: (signal: AbortSignal) => Promise<void>): Promise<void> {
  const signal = deadline(timeoutMs);
  try {
    await attempt(signal);
  } catch (cause) {
    const why = signal.aborted ? `no answer within ${timeoutMs / 1000} s` : messageOf(cause) || (codeOf(cause) ?? "");
    throw new GatewayError("SINK_FAILED", `it cannot be reached: ${printable(why, 300)}`, { cause });
  }
}

function faultOf(error: unknown, type: SinkSettings["type"]): Problem {
  const { code, message } = asGatewayError(error);
  const fix =
    code === "SINK_FAILED"
      ? `look at its address, its certificate and the network`
      : `mend the settings of the \`${type}\` sink, or the file`;
  return { status: "fail", text: message, fix };
}
