import { existsSync, readFileSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { z } from "zod";
import { GatewayError } from "./errors.ts";
import { xdgDirectory } from "./lib/xdg.ts";
import { LOG_LEVELS } from "./log.ts";
import type { SettingsPlaces } from "./settings.ts";
import { settingsPlaces } from "./settings-places.ts";
import { skillPlaces } from "./skill-places.ts";

const path = z
  .string()
  .min(1)
  .refine((it) => !it.includes("\0"), "must not contain NUL");

const settingsSchema = z.strictObject({
  /** Guest images, state and audit log live below it. */
  dataDirectory: path,
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
  /** Folders of skills' folders, besides the shipped one. */
  skills: z.array(path),
});

const DEFAULT_SPARES = 1;

/** How a person gives each. */
const GIVEN_BY: Readonly<Record<string, string>> = {
  dataDirectory: "--data-dir, or GLOVEBOX_DATA_DIR",
  logLevel: "--log-level, or GLOVEBOX_LOG_LEVEL",
  spares: "--spares, or GLOVEBOX_SPARES",
  upstreamProxy: "--upstream-proxy, or GLOVEBOX_UPSTREAM_PROXY",
  trustedCa: "--trusted-ca, or GLOVEBOX_TRUSTED_CA",
  skills: "--skills, or GLOVEBOX_SKILLS",
};

/** Where the gateway keeps things and which policy it obeys; all paths absolute. */
export interface Config extends Omit<z.infer<typeof settingsSchema>, "skills"> {
  /** Folders of skills' folders; not all need be there. */
  readonly skillDirectories: readonly string[];
  /** Where it is said which policy holds. */
  readonly settings: SettingsPlaces;
  readonly imageDirectory: string;
  readonly stateDirectory: string;
  readonly templateDirectory: string;
  readonly snapshotDirectory: string;
  readonly auditDirectory: string;
  /** What the audit log is searched by; made from it. */
  readonly auditIndexFile: string;
  /** The key that signs the audit log, with its own directory. */
  readonly auditKeyFile: string;
  /** Files of packages, by their digests. */
  readonly packageCacheDirectory: string;
  /** What is known about versions of packages. */
  readonly advisoriesFile: string;
  /** What was used lately, of what policy limits. */
  readonly budgetsFile: string;
}

/** Command-line options that override the environment. */
export interface ConfigOptions {
  readonly dataDir?: string;
  /** The user's bundle. */
  readonly policy?: string;
  /** The user's glovebox.yaml. */
  readonly config?: string;
  readonly logLevel?: string;
  readonly spares?: string;
  readonly upstreamProxy?: string;
  readonly trustedCa?: string;
  readonly skills?: readonly string[];
}

/** The package's own root, with `policies/` and `guest/` in it. */
export const PACKAGE_ROOT = resolve(import.meta.dirname, "..");

export const VERSION = z
  .object({ version: z.string() })
  .parse(JSON.parse(readFileSync(join(PACKAGE_ROOT, "package.json"), "utf8"))).version;

/**
 * Options, then `GLOVEBOX_DATA_DIR`, `GLOVEBOX_POLICY`, `GLOVEBOX_CONFIG`, `GLOVEBOX_LOG_LEVEL`, `GLOVEBOX_SPARES`, `GLOVEBOX_UPSTREAM_PROXY`,
 * `GLOVEBOX_TRUSTED_CA` and `GLOVEBOX_SKILLS`, then defaults: root keeps its data in `/var/lib/glovebox`, where the machines' unprivileged users can reach it, anybody else in the XDG data directory.
 * @throws GatewayError CONFIG_INVALID, naming every problem
 */
export function loadConfig(options: ConfigOptions, env: NodeJS.ProcessEnv): Config {
  const parsed = settingsSchema.safeParse({
    dataDirectory: options.dataDir ?? env["GLOVEBOX_DATA_DIR"] ?? defaultDataDirectory(env),
    logLevel: options.logLevel ?? env["GLOVEBOX_LOG_LEVEL"] ?? "info",
    spares: options.spares ?? env["GLOVEBOX_SPARES"] ?? DEFAULT_SPARES,
    upstreamProxy: options.upstreamProxy ?? env["GLOVEBOX_UPSTREAM_PROXY"],
    trustedCa: options.trustedCa ?? env["GLOVEBOX_TRUSTED_CA"],
    skills: options.skills ?? (env["GLOVEBOX_SKILLS"] ?? "").split(delimiter).filter((it) => it !== ""),
  });
  if (!parsed.success) {
    const problems = parsed.error.issues.map(
      ({ path: [name], message }) => `${GIVEN_BY[String(name)] ?? String(name)}: ${message}`,
    );
    throw new GatewayError("CONFIG_INVALID", problems.join("\n"));
  }
  const dataDirectory = resolve(parsed.data.dataDirectory);
  const { skills, ...settings } = parsed.data;
  const missing = skills.find((it) => !existsSync(it));
  if (missing !== undefined) throw new GatewayError("CONFIG_INVALID", `skills: there is no folder \`${missing}\``);
  const places = settingsPlaces(options, env, PACKAGE_ROOT);
  return {
    ...settings,
    dataDirectory,
    skillDirectories: [...skillPlaces(places, PACKAGE_ROOT), ...skills.map((it) => resolve(it))],
    settings: places,
    imageDirectory: join(dataDirectory, "images"),
    stateDirectory: join(dataDirectory, "state"),
    templateDirectory: join(dataDirectory, "templates"),
    snapshotDirectory: join(dataDirectory, "snapshots"),
    auditDirectory: join(dataDirectory, "audit"),
    auditIndexFile: join(dataDirectory, "audit-index", "index.sqlite"),
    auditKeyFile: join(dataDirectory, "keys", "audit.key"),
    packageCacheDirectory: join(dataDirectory, "packages"),
    advisoriesFile: join(dataDirectory, "advisories.sqlite"),
    budgetsFile: join(dataDirectory, "budgets.sqlite"),
  };
}

function defaultDataDirectory(env: NodeJS.ProcessEnv): string {
  if (process.getuid?.() === 0) return "/var/lib/glovebox";
  return join(xdgDirectory(env["XDG_DATA_HOME"], homedir(), ".local", "share"), "glovebox");
}
