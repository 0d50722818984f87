import { existsSync } from "node:fs";
import { copyFile, lstat, mkdir, open, readFile, realpath, rename, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Command } from "commander";
import pc from "picocolors";
import { GatewayError } from "../errors.ts";
import { messageOf } from "../lib/error.ts";
import { edited } from "./client-config.ts";
import { CLIENTS, type ClientKind, type Launch, type Place } from "./clients.ts";

export interface InstallContext {
  readonly launch: Pick<Launch, "command" | "args">;
  readonly place: Place;
}

interface Options {
  readonly name: string;
  readonly project?: boolean;
  readonly policy?: string;
  readonly dataDir?: string;
  readonly dryRun?: boolean;
  readonly json?: boolean;
}

/** `glovebox install <client>`. */
export function installCommand(context: InstallContext): Command {
  return common(new Command("install"), "add Glovebox to an MCP client's own configuration (a backup is kept)", context)
    .option("--policy <dir>", "policy bundle that this client's sandboxes obey")
    .option("--data-dir <dir>", "where images, state and audit log are kept")
    .action((client: string | undefined, options: Options) => act(client, options, context, true));
}

/** `glovebox uninstall <client>`. */
export function uninstallCommand(context: InstallContext): Command {
  return common(new Command("uninstall"), "take Glovebox out of an MCP client's configuration", context).action(
    (client: string | undefined, options: Options) => act(client, options, context, false),
  );
}

function common(command: Command, description: string, { place }: InstallContext): Command {
  const lines = CLIENTS.map(
    (it) => `  ${it.name.padEnd(15)} ${it.user(place)}${it.project ? `, or ${it.project}` : ""}`,
  );
  return command
    .description(description)
    .argument("[client]", "one of the clients below; without it, says which are here")
    .option("--name <name>", "name of the server in the client", "glovebox")
    .option("--project", "in the project's configuration (the current folder) rather than the user's")
    .option("--dry-run", "print the file as it would be and write nothing")
    .option("--json", "print the result as JSON")
    .addHelpText("after", `\nClients and the files that are changed:\n${lines.join("\n")}`);
}

async function act(client: string | undefined, options: Options, context: InstallContext, add: boolean): Promise<void> {
  if (client === undefined) {
    for (const it of CLIENTS) {
      const found = existsSync(dirname(it.user(context.place))) ? "seems to be here" : "";
      console.log(`${it.name.padEnd(15)} ${it.title.padEnd(15)} ${found}`.trimEnd());
    }
    return;
  }
  const kind = CLIENTS.find((it) => it.name === client);
  if (!kind) {
    const names = CLIENTS.map((it) => it.name).join(", ");
    throw new GatewayError("INVALID_ARGUMENTS", `there is no client \`${client}\`; known are ${names}`);
  }
  if (!/^[A-Za-z0-9_-]{1,64}$/.test(options.name)) {
    throw new GatewayError("INVALID_ARGUMENTS", "--name: letters, digits, dashes and underscores");
  }
  const change = await changeFile(kind, options, context, add);
  report(kind, change, options, add);
}

interface Change {
  readonly path: string;
  readonly changed: boolean;
  readonly backup?: string;
  readonly text: string;
}

async function changeFile(kind: ClientKind, options: Options, context: InstallContext, add: boolean): Promise<Change> {
  const path = await target(kind, options, context.place);
  try {
    const before = await existing(path);
    const entry = add ? kind.entry(launchOf(options, context), options.name) : undefined;
    const text = before === undefined && !add ? "" : edited(kind, before ?? "", options.name, entry);
    if (text === (before ?? "") || options.dryRun) return { path, changed: text !== (before ?? ""), text };
    const backup = before === undefined ? undefined : `${path}.glovebox-backup-${stamp()}`;
    if (backup !== undefined) await copyFile(path, backup);
    await replace(path, text);
    return { path, changed: true, text, ...(backup === undefined ? {} : { backup }) };
  } catch (error) {
    if (!(error instanceof GatewayError) || error.code !== "CLIENT_CONFIG_INVALID") throw error;
    throw new GatewayError("CLIENT_CONFIG_INVALID", `\`${path}\`: ${error.message}; it was left as it is`, {
      cause: error,
    });
  }
}

async function target(kind: ClientKind, { project }: Options, place: Place): Promise<string> {
  if (project && kind.project === undefined) {
    throw new GatewayError("INVALID_ARGUMENTS", `${kind.title} has no configuration for a project`);
  }
  const path = project && kind.project !== undefined ? join(place.cwd, kind.project) : kind.user(place);
  // Dotfiles are often links into a repository: the file is changed, not the link replaced.
  return await realpath(path).catch(() => path);
}

function launchOf({ policy, dataDir }: Options, { launch }: InstallContext): Launch {
  const more = [...(policy ? ["--policy", policy] : []), ...(dataDir ? ["--data-dir", dataDir] : [])];
  return { ...launch, args: [...launch.args, ...more], env: {} };
}

async function existing(path: string): Promise<string | undefined> {
  const stats = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw new GatewayError("CLIENT_CONFIG_INVALID", error.message, { cause: error });
  });
  if (!stats) return undefined;
  if (!stats.isFile()) throw new GatewayError("CLIENT_CONFIG_INVALID", "it is not a regular file");
  return await readFile(path, "utf8");
}

/** Whole or not at all; the mode of the file stays. */
async function replace(path: string, text: string): Promise<void> {
  const mode = (await lstat(path).catch(() => undefined))?.mode ?? 0o600;
  const draft = `${path}.glovebox-new`;
  try {
    await mkdir(dirname(path), { recursive: true });
    const file = await open(draft, "wx", mode & 0o777);
    await file.writeFile(text);
    await file.sync();
    await file.close();
    await rename(draft, path);
  } catch (error) {
    await rm(draft, { force: true }).catch(() => undefined);
    const reason = messageOf(error);
    throw new GatewayError("CLIENT_CONFIG_INVALID", `cannot be written: ${reason}`, { cause: error });
  }
}

function stamp(): string {
  return new Date().toISOString().replaceAll(/[-:.]/g, "");
}

function report({ title }: ClientKind, { path, changed, backup, text }: Change, options: Options, add: boolean): void {
  if (options.json) {
    const dry = options.dryRun ? { text } : {};
    console.log(JSON.stringify({ path, changed, ...(backup ? { backup } : {}), ...dry }, null, 2));
    return;
  }
  if (options.dryRun) {
    console.error(`${path} would be:`);
    process.stdout.write(text);
    return;
  }
  const colour = pc.createColors(process.stdout.isTTY === true);
  if (!changed) {
    console.log(`${title}: nothing to do, ${path} ${add ? "has the entry already" : "has no such entry"}`);
    return;
  }
  console.log(`${colour.green(add ? "installed" : "removed")}: ${title}, in ${path}`);
  if (backup) console.log(`backup: ${backup}`);
  if (add) console.log(`Restart ${title}, or let it reload its MCP servers.`);
}
