import { Server } from "@modelcontextprotocol/sdk/server/index.js";
import { CallToolRequestSchema, ListToolsRequestSchema, type Tool } from "@modelcontextprotocol/sdk/types.js";
import type { CallRequest, CallResult } from "../call/call.ts";
import type { Capability } from "../capability/capability.ts";
import { printable } from "../lib/text.ts";
import type { Logger } from "../log.ts";
import { jsonSchema } from "./json-schema.ts";
import { stdioPrincipal } from "./principal.ts";
import { toToolResult } from "./result.ts";

export interface ServerPorts {
  readonly version: string;
  readonly instructions: string;
  /** Those that the bundle in force can ever permit. */
  readonly capabilities: readonly Capability[];
  readonly call: (request: CallRequest) => Promise<CallResult>;
  /** Aborts when the gateway shuts down. */
  readonly stopping: AbortSignal;
  readonly log: Logger;
}

/** Progress notes faster than this are dropped: they are for a person's eye. */
const PROGRESS_INTERVAL_MS = 200;

/** Capabilities as MCP tools. The low-level server, so that bad arguments reach the spine and its audit record too. */
export function createServer(ports: ServerPorts): Server {
  const server = new Server(
    { name: "glovebox", title: "Glovebox", version: ports.version },
    { capabilities: { tools: {} }, instructions: ports.instructions },
  );
  const tools = ports.capabilities.map(toTool);

  server.setRequestHandler(ListToolsRequestSchema, () => ({ tools }));
  server.setRequestHandler(CallToolRequestSchema, async (message, extra) => {
    const { name, arguments: args, _meta } = message.params;
    const token = _meta?.progressToken;
    const signal = AbortSignal.any([extra.signal, ports.stopping]);
    let count = 0;
    let lastAt = -PROGRESS_INTERVAL_MS;
    const progress = (text: string) => {
      const now = performance.now();
      if (token === undefined || signal.aborted || now - lastAt < PROGRESS_INTERVAL_MS) return;
      lastAt = now;
      count += 1;
      const params = { progressToken: token, progress: count, message: printable(text, 1_024) };
      // The client may have gone: a notification after close rejects, and nobody is left to tell.
      extra.sendNotification({ method: "notifications/progress", params }).catch((error: unknown) => {
        ports.log.debug({ err: error }, "progress not delivered");
      });
    };
    const principal = stdioPrincipal(server.getClientVersion());
    return toToolResult(await ports.call({ tool: name, args, principal, signal, progress }));
  });
  server.onerror = (error) => ports.log.warn({ err: error }, "protocol error");
  return server;
}

function toTool(capability: Capability): Tool {
  const { name, description, annotations } = capability;
  return {
    name,
    title: annotations.title,
    description,
    inputSchema: jsonSchema(capability.input, "input") as Tool["inputSchema"],
    outputSchema: jsonSchema(capability.output, "output") as NonNullable<Tool["outputSchema"]>,
    annotations: {
      title: annotations.title,
      readOnlyHint: annotations.readOnly,
      destructiveHint: annotations.destructive,
      idempotentHint: annotations.idempotent,
      openWorldHint: annotations.openWorld,
    },
  };
}
