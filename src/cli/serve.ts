import { Command } from "commander";
import { loadConfig } from "../config.ts";
import { GatewayError } from "../errors.ts";
import { openGateway } from "../gateway.ts";
import { serveStdio } from "../mcp/stdio.ts";

interface ServeOptions {
  readonly policy?: string;
  readonly config?: string;
  readonly dataDir?: string;
  readonly logLevel?: string;
  readonly spares?: string;
  readonly upstreamProxy?: string;
  readonly trustedCa?: string;
  readonly skills?: readonly string[];
}

/** After this the process ends whatever is still going on; the next start cleans up after it. */
const EXIT_DEADLINE_MS = 4_500;

/** `glovebox serve`: an MCP server on stdin and stdout; the log goes to stderr. */
export function serveCommand(): Command {
  return new Command("serve")
    .description("serve one MCP client over stdin and stdout (clients start this themselves; see `glovebox install`)")
    .option(
      "--policy <dir>",
      "your policy bundle; an organisation's and a team's hold besides (default: the shipped `default`; env GLOVEBOX_POLICY)",
    )
    .option("--config <file>", "your glovebox.yaml (env GLOVEBOX_CONFIG)")
    .option("--data-dir <dir>", "where images, state and audit log are kept (env GLOVEBOX_DATA_DIR)")
    .option("--log-level <level>", "trace, debug, info, warn, error or silent (env GLOVEBOX_LOG_LEVEL)")
    .option("--spares <n>", "sandboxes to keep ready while the gateway is in use (default: 1; env GLOVEBOX_SPARES)")
    .option("--upstream-proxy <url>", "the network's own proxy, if that is the way out (env GLOVEBOX_UPSTREAM_PROXY)")
    .option("--trusted-ca <file>", "PEM file of authorities to trust besides the system's (env GLOVEBOX_TRUSTED_CA)")
    .option("--skills <dir...>", "folders of skills, besides those that are shipped (env GLOVEBOX_SKILLS)")
    .addHelpText(
      "after",
      "\nTo try it by hand:\n  $ npx @modelcontextprotocol/inspector --cli glovebox serve --method tools/list\n",
    )
    .action(async (options: ServeOptions) => {
      await serve(options);
    });
}

async function serve(options: ServeOptions): Promise<void> {
  const stop = new AbortController();
  const stopping = (why: string) => {
    if (stop.signal.aborted) return;
    stop.abort(new GatewayError("SHUTTING_DOWN", `the gateway is shutting down (${why})`));
    setTimeout(() => process.exit(1), EXIT_DEADLINE_MS).unref();
  };
  process.once("SIGINT", () => stopping("SIGINT"));
  process.once("SIGTERM", () => stopping("SIGTERM"));
  process.once("SIGHUP", () => stopping("SIGHUP"));
  {
    await using gateway = await openGateway(loadConfig(options, process.env), stop.signal);
    await serveStdio(gateway.server);
    stopping("the client is gone");
  }
  // Whatever a library keeps open must not keep the process.
  process.exit(0);
}
