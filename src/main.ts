import { homedir } from "node:os";
import { join } from "node:path";
import { Command } from "commander";
import pc from "picocolors";
import { describeCall } from "./call/describe.ts";
import { advisoriesCommand } from "./cli/advisories.ts";
import { auditCommand } from "./cli/audit.ts";
import { doctorCommand } from "./cli/doctor.ts";
import { imageCommand } from "./cli/image.ts";
import { installCommand, uninstallCommand } from "./cli/install.ts";
import { policyCommand } from "./cli/policy.ts";
import { serveCommand } from "./cli/serve.ts";
import { snapshotCommand } from "./cli/snapshot.ts";
import { loadConfig, PACKAGE_ROOT, VERSION } from "./config.ts";
import { secretProblem } from "./egress/secret-probe.ts";
import { examineHost } from "./engine/qemu/host.ts";
import { asGatewayError, GatewayError } from "./errors.ts";
import { findGroup } from "./packages/sources/groups.ts";

const program = new Command("glovebox")
  .description("Hands for AI agents, inside a sealed box: policy, audit log, and a virtual machine for each session.")
  .version(VERSION)
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

const config = () => loadConfig({}, process.env);

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
program.addCommand(policyCommand({ describe: describeCall, findGroup }));
program.addCommand(
  auditCommand({
    version: VERSION,
    directory: (dataDir) => loadConfig(dataDir === undefined ? {} : { dataDir }, process.env).auditDirectory,
  }),
);
program.addCommand(
  snapshotCommand({ directories: (dataDir) => loadConfig(dataDir === undefined ? {} : { dataDir }, process.env) }),
);
program.addCommand(
  advisoriesCommand({
    file: (dataDir) => loadConfig(dataDir === undefined ? {} : { dataDir }, process.env).advisoriesFile,
    auditDirectory: (dataDir) => loadConfig(dataDir === undefined ? {} : { dataDir }, process.env).auditDirectory,
  }),
);
program.addCommand(doctorCommand({ config, describe: describeCall, findGroup, secretProblem }));
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
