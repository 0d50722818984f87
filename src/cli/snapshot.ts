import { Command } from "commander";
import { openAuditLog } from "../audit/log.ts";
import { openSigner } from "../audit/proof/signer.ts";
import { GatewayError } from "../errors.ts";
import { newId } from "../lib/id.ts";
import { userName } from "../lib/user.ts";
import { readSnapshots, removeSnapshot, type Snapshot } from "../session/snapshots.ts";

export interface SnapshotContext {
  /** Of a data directory, or of the configured one. */
  readonly directories: (dataDir: string | undefined) => {
    readonly snapshotDirectory: string;
    readonly auditDirectory: string;
    readonly auditKeyFile: string;
  };
}

interface Options {
  readonly dataDir?: string;
  readonly json?: boolean;
}

const MIB = 1024 * 1024;

/** `glovebox snapshot list|delete`, for the people who keep the computer: of all principals. Agents take and restore them. */
export function snapshotCommand(context: SnapshotContext): Command {
  const command = new Command("snapshot").description("list and delete snapshots of sandboxes").addHelpText(
    "after",
    `
Agents take snapshots with the tool snapshotSession, and go back to them with restoreSession or forkSession. A snapshot holds what a
sandbox had in memory and on disk. Gateways may be running meanwhile; a deletion is written to the audit log first.

Examples:
  $ glovebox snapshot list
  $ glovebox snapshot delete before-upgrade
  $ glovebox snapshot delete snap-0mwplkhc8c2b36263ab4f8dbd    where two people chose the same name`,
  );
  const dataDir = ["--data-dir <dir>", "where snapshots are kept (env GLOVEBOX_DATA_DIR)"] as const;
  command
    .command("list")
    .description("list all snapshots, oldest first")
    .option(...dataDir)
    .option("--json", "print them as JSON")
    .action((options: Options) => list(context, options));
  command
    .command("delete")
    .argument("<snapshot>", "its name, or its id as `list` shows it")
    .description("delete one for good")
    .option(...dataDir)
    .action((which: string, options: Options) => remove(which, context, options));
  return command;
}

async function list(context: SnapshotContext, { dataDir, json }: Options): Promise<void> {
  const { snapshots, unreadable } = await readSnapshots(context.directories(dataDir).snapshotDirectory);
  if (json) return console.log(JSON.stringify([...snapshots.map(plain), ...unreadable.map((id) => ({ id }))], null, 2));
  if (snapshots.length + unreadable.length === 0) return console.log("no snapshots");
  for (const it of snapshots)
    console.log(`${it.id}  ${it.name}  ${it.takenAt}  ${Math.ceil(it.bytes / MIB)} MiB  ${it.principalId}`);
  for (const id of unreadable) console.log(`${id}  cannot be read`);
}

function plain({ id, name, principalId, sessionId, takenAt, bytes }: Snapshot): object {
  return { id, name, principalId, sessionId, takenAt, bytes };
}

async function remove(which: string, context: SnapshotContext, { dataDir }: Options): Promise<void> {
  const { snapshotDirectory, auditDirectory, auditKeyFile } = context.directories(dataDir);
  const { snapshots, unreadable } = await readSnapshots(snapshotDirectory);
  const found = snapshots.filter((it) => it.name === which || it.id === which);
  const ids = [...found.map((it) => it.id), ...unreadable.filter((id) => id === which)];
  const [id] = ids;
  if (id === undefined) throw new GatewayError("SNAPSHOT_NOT_FOUND", `there is no snapshot \`${which}\``);
  if (ids.length > 1)
    throw new GatewayError(
      "INVALID_ARGUMENTS",
      `${ids.length} snapshots are called so; give one's id: ${ids.join(", ")}`,
    );
  {
    const signer = await openSigner(auditKeyFile);
    await using audit = await openAuditLog({ directory: auditDirectory, gateway: newId("gw"), signer });
    const of = found[0] ? { name: found[0].name, principalId: found[0].principalId } : {};
    const facts = { id, ...of, by: `local:${userName()}` };
    await audit.append({ kind: "event", event: "snapshot-deleted", facts });
  }
  await removeSnapshot(snapshotDirectory, id);
  console.log(`deleted ${which}`);
}
