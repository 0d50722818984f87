import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import { createServer, type ServerPorts } from "./server.ts";

/**
 * Serves one client over stdin and stdout until it goes away; resolves then. The SDK's transport does not notice the end of
 * stdin, and a broken pipe on stdout would end the process: both mean that the client is gone.
 */
export async function serveStdio(ports: ServerPorts): Promise<void> {
  const server = createServer(ports);
  const { promise: gone, resolve } = Promise.withResolvers<void>();
  for (const event of ["end", "close", "error"] as const) process.stdin.once(event, () => resolve());
  process.stdout.once("error", (error) => {
    ports.log.debug({ err: error }, "stdout closed");
    resolve();
  });
  ports.stopping.addEventListener("abort", () => resolve(), { once: true });
  const closed = server.onclose;
  server.onclose = () => {
    closed?.();
    resolve();
  };
  await server.connect(new StdioServerTransport());
  await gone;
}
