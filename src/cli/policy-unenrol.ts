import type { Command } from "commander";
import { GatewayError } from "../errors.ts";
import { printable } from "../lib/text.ts";
import { forgetEnrolment } from "../policy/enrolment.ts";
import { readSystem } from "../settings.ts";
import { answer } from "./policy-answer.ts";
import type { PolicyContext } from "./policy-context.ts";

/** `glovebox policy unenrol`: for administrators, when an organisation's policy is gone for good. */
export function addUnenrol(command: Command, { configured }: PolicyContext): void {
  if (!configured) return;
  command
    .command("unenrol")
    .description("end this computer's enrolment by an organisation, once its policy is removed; only root can")
    .option("--data-dir <dir>", "data directory that remembers the enrolment (env GLOVEBOX_DATA_DIR)")
    .addHelpText(
      "after",
      `
A gateway that has once obeyed an organisation's policy refuses to start without it. Who means to leave removes the system's folder
first (/etc/glovebox, on macOS /Library/Application Support/Glovebox), then says so for each data directory.
Exit codes: 0 removed, 1 there was no enrolment, 2 not possible.

Examples:
  $ sudo glovebox policy unenrol
  $ sudo glovebox policy unenrol --data-dir /home/ada/.local/share/glovebox`,
    )
    .action(({ dataDir }: { dataDir?: string }) =>
      answer(async () => {
        if (process.getuid?.() !== 0) throw new GatewayError("ORGANISATION_POLICY", "only root can end an enrolment");
        const { systemDirectory } = configured.settings({});
        const system = await readSystem(systemDirectory);
        if (system?.value.organisation) {
          const message = `\`${printable(system.file)}\` enrols this computer still: remove \`organisation\` there first`;
          throw new GatewayError("ORGANISATION_POLICY", message);
        }
        const directory = configured.dataDirectory(dataDir);
        const removed = await forgetEnrolment(directory);
        const where = printable(directory);
        console.log(removed ? `the enrolment in ${where} has ended` : `there is no enrolment in ${where}`);
        return removed;
      }),
    );
}
