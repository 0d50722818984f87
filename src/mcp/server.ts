import { Server } from "@modelcontextprotocol/sdk/server/index.js";
import { CallToolRequestSchema, ListToolsRequestSchema, type Tool } from "@modelcontextprotocol/sdk/types.js";
import type { Elicitation } from "../approval/elicitation.ts";
import type { CallRequest, CallResult } from "../call/ports.ts";
import type { Capability } from "../capability/capability.ts";
import { printable } from "../lib/text.ts";
import { readTraceContext } from "../lib/trace-context.ts";
import type { Logger } from "../log.ts";
import type { Principal } from "../policy/request.ts";
import type { Skill } from "../skill/skill.ts";
import { elicitThrough } from "./elicit.ts";
import { jsonSchema } from "./json-schema.ts";
import { stdioPrincipal } from "./principal.ts";
import { toToolResult } from "./result.ts";
import { serveSkills } from "./skills.ts";

export interface ServerPorts {
  readonly version: string;
  readonly instructions: string;
  /** Those that the policy in force can ever permit. */
  readonly capabilities: (principal: Principal) => readonly Capability[];
  /** Told when they may be others. */
  readonly onCapabilities: (listener: () => void) => Disposable;
  /** Those that the policy in force lets a principal use. */
  readonly skills: (principal: Principal) => readonly Skill[];
  readonly call: (request: CallRequest) => Promise<CallResult>;
  /** Aborts when the gateway shuts down. */
  readonly stopping: AbortSignal;
  /** Asks the client's user, where the client can. */
  readonly elicitation?: Pick<Elicitation, "attach">;
  readonly log: Logger;
}

/** Progress notes faster than this are dropped: they are for a person's eye. */
const PROGRESS_INTERVAL_MS = 200;
/** Of a request's id as it is recorded. */
const MAX_ID_CHARS = 100;

/** Capabilities as MCP tools. The low-level server, so that bad arguments reach the spine and its audit record too. */
export function createServer(ports: ServerPorts): Server {
  const server = new Server(
    { name: "glovebox", title: "Glovebox", version: ports.version },
    { capabilities: { tools: { listChanged: true }, resources: {}, prompts: {} }, instructions: ports.instructions },
  );
  const principal = () => stdioPrincipal(server.getClientVersion());
  let told = names(ports.capabilities(principal()));
  const watching = ports.onCapabilities(() => {
    const now = names(ports.capabilities(principal()));
    if (now === told) return;
    told = now;
    server.sendToolListChanged().catch((error: unknown) => ports.log.debug({ err: error }, "change not delivered"));
  });
  server.onclose = () => watching[Symbol.dispose]();

  server.setRequestHandler(ListToolsRequestSchema, () => ({ tools: ports.capabilities(principal()).map(toTool) }));
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
    const trace = readTraceContext(_meta);
    const requestId = printable(String(extra.requestId), MAX_ID_CHARS);
    const request = { tool: name, args, principal: principal(), requestId, ...(trace && { trace }), signal, progress };
    return toToolResult(await ports.call(request));
  });
  serveSkills(server, () => ports.skills(principal()));
  let attached: Disposable | undefined;
  // What the client can do is known from then on.
  server.oninitialized = () => {
    if (!ports.stopping.aborted) attached ??= ports.elicitation?.attach(elicitThrough(server));
  };
  ports.stopping.addEventListener("abort", () => attached?.[Symbol.dispose](), { once: true });
  server.onerror = (error) => ports.log.warn({ err: error }, "protocol error");
  return server;
}

function names(capabilities: readonly Capability[]): string {
  return capabilities.map((it) => it.name).join();
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
