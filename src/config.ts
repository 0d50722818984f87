import { readFileSync } from "node:fs";
import { homedir } from "node:os";
import { isAbsolute, join, resolve } from "node:path";
import { z } from "zod";
import { GatewayError } from "./errors.ts";
import { LOG_LEVELS } from "./log.ts";

const path = z
  .string()
  .min(1)
  .refine((it) => !it.includes("\0"), "must not contain NUL");

const settingsSchema = z.strictObject({
  /** Guest images, state and audit log live below it. */
  dataDirectory: path,
  /** The policy bundle in force. */
  policyDirectory: path,
  logLevel: z.enum(LOG_LEVELS),
  /** The most sandboxes that wait ready while the gateway is in use; 0: each is opened when it is asked for. */
  spares: z.coerce.number({ error: "must be a number" }).int().min(0).max(64),
  /** The network's own proxy, where that is the only way out. It may hold a password. */
  upstreamProxy: z
    .string()
    .refine((it) => /^https?:$/.test(URL.parse(it)?.protocol ?? ""), "must be a URL such as http://proxy.corp:3128")
    .optional(),
  /** A PEM file of authorities to trust besides the system's. */
  trustedCa: path.optional(),
});

const DEFAULT_SPARES = 1;

/** Where the gateway keeps things and which policy it obeys; all paths absolute. */
export interface Config extends z.infer<typeof settingsSchema> {
  readonly imageDirectory: string;
  readonly stateDirectory: string;
  readonly templateDirectory: string;
  readonly snapshotDirectory: string;
  readonly auditDirectory: string;
  /** Files of packages, by their digests. */
  readonly packageCacheDirectory: string;
  /** What is known about versions of packages. */
  readonly advisoriesFile: string;
}

/** Command-line options that override the environment. */
export interface ConfigOptions {
  readonly dataDir?: string;
  readonly policy?: string;
  readonly logLevel?: string;
  readonly spares?: string;
  readonly upstreamProxy?: string;
  readonly trustedCa?: string;
}

/** The package's own root, with `policies/` and `guest/` in it. */
export const PACKAGE_ROOT = resolve(import.meta.dirname, "..");

export const VERSION = z
  .object({ version: z.string() })
  .parse(JSON.parse(readFileSync(join(PACKAGE_ROOT, "package.json"), "utf8"))).version;

/**
 * Options, then `GLOVEBOX_DATA_DIR`, `GLOVEBOX_POLICY`, `GLOVEBOX_LOG_LEVEL`, `GLOVEBOX_SPARES`, `GLOVEBOX_UPSTREAM_PROXY` and
 * `GLOVEBOX_TRUSTED_CA`, then defaults: root keeps its data in `/var/lib/glovebox`, where the machines' unprivileged users can reach it, anybody else in the XDG data directory.
 * @throws GatewayError CONFIG_INVALID, naming every problem
 */
export function loadConfig(options: ConfigOptions, env: NodeJS.ProcessEnv): Config {
  const parsed = settingsSchema.safeParse({
    dataDirectory: options.dataDir ?? env["GLOVEBOX_DATA_DIR"] ?? defaultDataDirectory(env),
    policyDirectory: options.policy ?? env["GLOVEBOX_POLICY"] ?? join(PACKAGE_ROOT, "policies", "default"),
    logLevel: options.logLevel ?? env["GLOVEBOX_LOG_LEVEL"] ?? "info",
    spares: options.spares ?? env["GLOVEBOX_SPARES"] ?? DEFAULT_SPARES,
    upstreamProxy: options.upstreamProxy ?? env["GLOVEBOX_UPSTREAM_PROXY"],
    trustedCa: options.trustedCa ?? env["GLOVEBOX_TRUSTED_CA"],
  });
  if (!parsed.success) throw new GatewayError("CONFIG_INVALID", z.prettifyError(parsed.error));
  const dataDirectory = resolve(parsed.data.dataDirectory);
  return {
    ...parsed.data,
    dataDirectory,
    policyDirectory: resolve(parsed.data.policyDirectory),
    imageDirectory: join(dataDirectory, "images"),
    stateDirectory: join(dataDirectory, "state"),
    templateDirectory: join(dataDirectory, "templates"),
    snapshotDirectory: join(dataDirectory, "snapshots"),
    auditDirectory: join(dataDirectory, "audit"),
    packageCacheDirectory: join(dataDirectory, "packages"),
    advisoriesFile: join(dataDirectory, "advisories.sqlite"),
  };
}

function defaultDataDirectory(env: NodeJS.ProcessEnv): string {
  if (process.getuid?.() === 0) return "/var/lib/glovebox";
  const xdg = env["XDG_DATA_HOME"];
  return join(xdg && isAbsolute(xdg) ? xdg : join(homedir(), ".local", "share"), "glovebox");
}
