import { homedir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import pc from "picocolors";
import { sinkPorts } from "./central-logging.ts";
import { advisoriesCommand } from "./cli/advisories.ts";
import { approveCommand } from "./cli/approve.ts";
import { auditCommand } from "./cli/audit.ts";
import { complianceCommand } from "./cli/compliance.ts";
import { doctorCommand } from "./cli/doctor.ts";
import { imageCommand } from "./cli/image.ts";
import { installCommand, uninstallCommand } from "./cli/install.ts";
import { policyCommand } from "./cli/policy.ts";
import type { Configured } from "./cli/policy-context.ts";
import { serveCommand } from "./cli/serve.ts";
import { skillCommand } from "./cli/skill.ts";
import { snapshotCommand } from "./cli/snapshot.ts";
import { loadConfig, PACKAGE_ROOT, VERSION } from "./config.ts";
import { readAuthorities } from "./egress/authorities.ts";
import { createKnownSecrets } from "./egress/hide.ts";
import { secretProblem } from "./egress/secret-probe.ts";
import { tunnelThrough } from "./egress/upstream-proxy.ts";
import { examineHost } from "./engine/qemu/host.ts";
import { asGatewayError, GatewayError } from "./errors.ts";
import { findGroup } from "./packages/sources/groups.ts";
import { fetchLayers } from "./policy/fetch-layer.ts";
import { loadSettings } from "./settings.ts";
import { settingsPlaces } from "./settings-places.ts";
import { skillPlaces } from "./skill-places.ts";
import { openTools, TOOL_NAMES } from "./tools.ts";

const program = new Command("glovebox")
  .description("Hands for AI agents, inside a sealed box: policy, audit log, and a virtual machine for each session.")
  .version(VERSION)
  // `--version` behind a subcommand is the subcommand's.
  .enablePositionalOptions()
  .showHelpAfterError()
  .showSuggestionAfterError()
  .addHelpText(
    "after",
    `
First steps:
  $ glovebox doctor                  is everything there?
  $ glovebox image build             build the guest image (some minutes, once)
  $ glovebox install claude-code     plug it into a client
  $ glovebox audit tail              see what agents did`,
  );

const FETCH_MS = 120_000;
const config = (dataDir?: string) => loadConfig(dataDir === undefined ? {} : { dataDir }, process.env);

const authorities = async () => {
  const { trustedCa } = config();
  return (await readAuthorities(trustedCa === undefined ? [] : [trustedCa])).all;
};

/** Without QEMU the image is built for the newest. */
async function qemuMajor(): Promise<number | undefined> {
  try {
    return (await examineHost(AbortSignal.timeout(10_000))).version.major;
  } catch (error) {
    if (error instanceof GatewayError && error.code === "QEMU_MISSING") return undefined;
    throw error;
  }
}

program.addCommand(serveCommand());
program.addCommand(
  imageCommand({ directory: () => config().imageDirectory, sources: join(PACKAGE_ROOT, "guest"), qemuMajor }),
);
const load = async () => ({
  ...(await openTools(config(), { mayPermit: () => true, mayUse: () => true })).language,
  findGroup,
});
const configured: Configured = {
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
program.addCommand(policyCommand({ load, configured }));
program.addCommand(
  skillCommand({
    toolNames: TOOL_NAMES,
    places: () => skillPlaces(settingsPlaces({}, process.env, PACKAGE_ROOT), PACKAGE_ROOT),
  }),
);
program.addCommand(
  approveCommand({
    stateDirectory: (dataDir) => config(dataDir).stateDirectory,
  }),
);
program.addCommand(
  auditCommand({
    version: VERSION,
    directory: (dataDir) => config(dataDir).auditDirectory,
    dataDirectory: (dataDir) => config(dataDir).dataDirectory,
    sinks: async (file) => (await loadSettings(configured.settings(file === undefined ? {} : { config: file }))).sinks,
    ports: (signal) => {
      const { upstreamProxy } = config();
      const through = upstreamProxy === undefined ? undefined : tunnelThrough(new URL(upstreamProxy), authorities);
      return sinkPorts({ authorities, upstreamProxy: through, known: createKnownSecrets(), ending: signal });
    },
    indexFile: (dataDir) => config(dataDir).auditIndexFile,
    keyFile: (dataDir) => config(dataDir).auditKeyFile,
  }),
);
program.addCommand(
  complianceCommand({
    version: VERSION,
    directory: (dataDir) => config(dataDir).auditDirectory,
    stateDirectory: (dataDir) => config(dataDir).stateDirectory,
    mappings: join(PACKAGE_ROOT, "compliance"),
  }),
);
program.addCommand(snapshotCommand({ directories: config }));
program.addCommand(
  advisoriesCommand({
    file: (dataDir) => config(dataDir).advisoriesFile,
    auditDirectory: (dataDir) => config(dataDir).auditDirectory,
    auditKeyFile: (dataDir) => config(dataDir).auditKeyFile,
  }),
);
program.addCommand(
  doctorCommand({ config, load: async () => ({ ...(await load()), secretProblem }), fetch: configured.fetch }),
);
const install = {
  launch: { command: process.execPath, args: [join(PACKAGE_ROOT, "bin", "glovebox.js"), "serve"] },
  place: { platform: process.platform, home: homedir(), cwd: process.cwd(), env: process.env },
};
program.addCommand(installCommand(install));
program.addCommand(uninstallCommand(install));

try {
  await program.parseAsync();
} catch (error) {
  const failure = asGatewayError(error);
  const colour = pc.createColors(process.stderr.isTTY === true);
  process.stderr.write(
    `${colour.red(failure.code)}: ${failure.message}\n${colour.dim("What to do:")} ${failure.fix}\n`,
  );
  if (failure.code === "INTERNAL" && failure.cause instanceof Error) process.stderr.write(`${failure.cause.stack}\n`);
  process.exit(1);
}
