import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

interface Request {
  readonly stream?: boolean;
  readonly tools?: readonly { readonly name: string }[];
  readonly messages: readonly { readonly role: string; readonly content: string | readonly Block[] }[];
}

type Block =
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "tool_use"; readonly id: string; readonly name: string; readonly input: unknown }
  | {
      readonly type: "tool_result";
      readonly tool_use_id: string;
      readonly content: unknown;
      readonly is_error?: boolean;
    };

/** One step of the script: the tool to call, or the last words. */
export type Step = { readonly tool: string; readonly input: unknown } | { readonly say: string };

export interface ScriptedModel extends AsyncDisposable {
  readonly url: string;
  /** The results that the client sent for the script's tool calls, in order. */
  readonly results: string[];
  /** Names of the tools that the client offered. */
  readonly offered: Set<string>;
}

/** A Messages API on loopback that asks for the script's tool calls one after the other, whatever it is told. */
export async function scriptedModel(script: readonly Step[]): Promise<ScriptedModel> {
  const results: string[] = [];
  const offered = new Set<string>();
  const server = createServer((request, response) => {
    answer(request, response).catch((error: unknown) => response.destroy(error instanceof Error ? error : undefined));
  });

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    if (!request.url?.startsWith("/v1/messages") || request.url.includes("count_tokens")) {
      response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify({ input_tokens: 1 }));
      return;
    }
    const body = JSON.parse(Buffer.concat(chunks).toString()) as Request;
    // Side requests (titles, quota checks) offer no tools and get a word.
    const main = body.tools?.some((it) => it.name.startsWith("mcp__")) ?? false;
    for (const tool of body.tools ?? []) offered.add(tool.name);
    const blocks = body.messages.flatMap((it) => (typeof it.content === "string" ? [] : it.content));
    const answered = blocks.filter((it) => it.type === "tool_result");
    if (main) results.splice(0, results.length, ...answered.map((it) => JSON.stringify(it.content)));
    const step = main ? (script[answered.length] ?? { say: "done" }) : { say: "ok" };
    send(response, step, answered.length, body.stream ?? false);
  }

  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    results,
    offered,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function send(response: ServerResponse, step: Step, index: number, stream: boolean): void {
  const block =
    "say" in step
      ? { type: "text" as const, text: step.say }
      : { type: "tool_use" as const, id: `toolu_${index}`, name: step.tool, input: step.input };
  const stop = "say" in step ? "end_turn" : "tool_use";
  const usage = { input_tokens: 1, output_tokens: 1 };
  const message = {
    id: `msg_${index}`,
    type: "message",
    role: "assistant",
    model: "scripted",
    stop_sequence: null,
    usage,
  };
  if (!stream) {
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify({ ...message, content: [block], stop_reason: stop }));
    return;
  }
  response.writeHead(200, { "content-type": "text/event-stream" });
  const event = (type: string, data: object) =>
    response.write(`event: ${type}\ndata: ${JSON.stringify({ type, ...data })}\n\n`);
  event("message_start", { message: { ...message, content: [], stop_reason: null } });
  const empty = block.type === "text" ? { ...block, text: "" } : { ...block, input: {} };
  event("content_block_start", { index: 0, content_block: empty });
  const delta =
    block.type === "text"
      ? { type: "text_delta", text: block.text }
      : { type: "input_json_delta", partial_json: JSON.stringify(block.input) };
  event("content_block_delta", { index: 0, delta });
  event("content_block_stop", { index: 0 });
  event("message_delta", { delta: { stop_reason: stop, stop_sequence: null }, usage });
  event("message_stop", {});
  response.end();
}
