import { homedir } from "node:os";
import { join } from "node:path";
import type { Command } from "commander";
import type { LoggingContext } from "./cli/audit-logging.ts";
import type { Configured } from "./cli/policy-context.ts";
import { loadConfig, PACKAGE_ROOT, VERSION } from "./config.ts";
import { GatewayError } from "./errors.ts";
import type { LoadPorts } from "./policy/load.ts";

/*
 * What each subcommand of `glovebox` stands on. A command's code is loaded when that command is asked for: all of it together takes a second
 * to load where machines are slow, and the shell, or a client, waits.
 */

const FETCH_MS = 120_000;
const config = (dataDir?: string) => loadConfig(dataDir === undefined ? {} : { dataDir }, process.env);

const authorities = async () => {
  const { trustedCa } = config();
  const { readAuthorities } = await import("./egress/authorities.ts");
  return (await readAuthorities(trustedCa === undefined ? [] : [trustedCa])).all;
};

/** Without QEMU the image is built for the newest. */
async function qemuMajor(): Promise<number | undefined> {
  const { examineHost } = await import("./engine/qemu/host.ts");
  try {
    return (await examineHost(AbortSignal.timeout(10_000))).version.major;
  } catch (error) {
    if (error instanceof GatewayError && error.code === "QEMU_MISSING") return undefined;
    throw error;
  }
}

async function load(): Promise<LoadPorts> {
  const [{ openTools }, { findGroup }] = await Promise.all([
    import("./tools.ts"),
    import("./packages/sources/groups.ts"),
  ]);
  return { ...(await openTools(config(), { mayPermit: () => true, mayUse: () => true })).language, findGroup };
}

async function configured(): Promise<Configured> {
  const [{ fetchLayers }, { settingsPlaces }] = await Promise.all([
    import("./policy/fetch-layer.ts"),
    import("./settings-places.ts"),
  ]);
  return {
    settings: (options) => settingsPlaces(options, process.env, PACKAGE_ROOT),
    dataDirectory: (dataDir) => config(dataDir).dataDirectory,
    fetch: (dataDirectory) => {
      const { upstreamProxy } = config();
      return fetchLayers({
        dataDirectory,
        authorities,
        ...(upstreamProxy !== undefined && { upstreamProxy }),
        signal: AbortSignal.timeout(FETCH_MS),
      });
    },
  };
}

/** Receivers of the log, and what they are opened with. */
async function logging(): Promise<Pick<LoggingContext, "sinks" | "ports">> {
  const [{ sinkPorts }, { createKnownSecrets }, { tunnelThrough }] = await Promise.all([
    import("./central-logging.ts"),
    import("./egress/hide.ts"),
    import("./egress/upstream-proxy.ts"),
  ]);
  return {
    sinks: async (file) => {
      const [{ loadSettings }, { settings }] = await Promise.all([import("./settings.ts"), configured()]);
      return (await loadSettings(settings(file === undefined ? {} : { config: file }))).sinks;
    },
    ports: (signal) => {
      const { upstreamProxy } = config();
      const through = upstreamProxy === undefined ? undefined : tunnelThrough(new URL(upstreamProxy), authorities);
      return sinkPorts({ authorities, upstreamProxy: through, known: createKnownSecrets(), ending: signal });
    },
  };
}

async function audit(): Promise<Command> {
  const { auditCommand } = await import("./cli/audit.ts");
  return auditCommand({
    version: VERSION,
    directory: (dataDir) => config(dataDir).auditDirectory,
    dataDirectory: (dataDir) => config(dataDir).dataDirectory,
    ...(await logging()),
    indexFile: (dataDir) => config(dataDir).auditIndexFile,
    keyFile: (dataDir) => config(dataDir).auditKeyFile,
  });
}

const install = {
  launch: { command: process.execPath, args: [join(PACKAGE_ROOT, "bin", "glovebox.js"), "serve"] },
  place: { platform: process.platform, home: homedir(), cwd: process.cwd(), env: process.env },
};

/** By name, in the order in which help shows them. */
export const COMMANDS: Readonly<Record<string, () => Promise<Command>>> = {
  serve: async () => (await import("./cli/serve.ts")).serveCommand(),
  image: async () =>
    (await import("./cli/image.ts")).imageCommand({
      directory: () => config().imageDirectory,
      sources: join(PACKAGE_ROOT, "guest"),
      qemuMajor,
    }),
  policy: async () => (await import("./cli/policy.ts")).policyCommand({ load, configured: await configured() }),
  skill: async () => {
    const [{ skillCommand }, { settings }] = await Promise.all([import("./cli/skill.ts"), configured()]);
    const [{ TOOL_NAMES }, { skillPlaces }] = await Promise.all([import("./tools.ts"), import("./skill-places.ts")]);
    return skillCommand({ toolNames: TOOL_NAMES, places: () => skillPlaces(settings({}), PACKAGE_ROOT) });
  },
  approve: async () =>
    (await import("./cli/approve.ts")).approveCommand({ stateDirectory: (dataDir) => config(dataDir).stateDirectory }),
  audit,
  compliance: async () =>
    (await import("./cli/compliance.ts")).complianceCommand({
      version: VERSION,
      directory: (dataDir) => config(dataDir).auditDirectory,
      stateDirectory: (dataDir) => config(dataDir).stateDirectory,
      mappings: join(PACKAGE_ROOT, "compliance"),
    }),
  snapshot: async () => (await import("./cli/snapshot.ts")).snapshotCommand({ directories: config }),
  advisories: async () =>
    (await import("./cli/advisories.ts")).advisoriesCommand({
      file: (dataDir) => config(dataDir).advisoriesFile,
      auditDirectory: (dataDir) => config(dataDir).auditDirectory,
      auditKeyFile: (dataDir) => config(dataDir).auditKeyFile,
    }),
  doctor: async () => {
    const [{ doctorCommand }, { fetch }] = await Promise.all([import("./cli/doctor.ts"), configured()]);
    const { secretProblem } = await import("./egress/secret-probe.ts");
    const { sinks, ports } = await logging();
    return doctorCommand({
      config,
      load: async () => ({ ...(await load()), secretProblem }),
      fetch,
      logging: { sinks: () => sinks(undefined), ports, secretProblem },
    });
  },
  install: async () => (await import("./cli/install.ts")).installCommand(install),
  uninstall: async () => (await import("./cli/install.ts")).uninstallCommand(install),
};
