import { once } from "node:events";
import { z } from "zod";
import type { TestClient } from "./gateway.ts";

/** For `connect`: the server listens for an inspector, on a port of loopback that nobody else has. */
export const INSPECTED = ["--inspect=127.0.0.1:0"];

/** A question to a running server's V8. Dispose of it before the server: a Node that ends waits for its inspectors. */
export interface Inspector extends Disposable {
  /**
   * Bytes that are reachable: on the heap, and beside it in what the heap's objects own. What V8 has not come round to collecting is not in it;
   * in the resident size it is, tens of MiB of it, or none, as V8 likes.
   */
  retainedBytes(): Promise<number>;
}

const answerSchema = z.object({ id: z.number(), result: z.unknown().optional(), error: z.unknown().optional() });
const memorySchema = z.object({ result: z.object({ value: z.number() }) });

/** Speaks the inspector's protocol with a server that was started with `INSPECTED`. */
export async function inspect({ stderr }: TestClient): Promise<Inspector> {
  const address = /ws:\/\/127\.0\.0\.1:\S+/.exec(stderr())?.[0];
  if (address === undefined) throw new Error(`the server names no inspector: ${stderr()}`);
  const socket = new WebSocket(address);
  await once(socket, "open");
  const waiting = new Map<number, (answer: z.infer<typeof answerSchema>) => void>();
  socket.addEventListener("message", ({ data }) => {
    const message = answerSchema.safeParse(JSON.parse(String(data)));
    // Without an id it is an event.
    if (message.success) waiting.get(message.data.id)?.(message.data);
  });
  let lastId = 0;
  const ask = async (method: string, params: Record<string, unknown> = {}): Promise<unknown> => {
    const { promise, resolve } = Promise.withResolvers<z.infer<typeof answerSchema>>();
    const id = ++lastId;
    waiting.set(id, resolve);
    socket.send(JSON.stringify({ id, method, params }));
    const { result, error } = await promise;
    waiting.delete(id);
    if (error !== undefined) throw new Error(`${method}: ${JSON.stringify(error)}`);
    return result;
  };
  return {
    retainedBytes: async () => {
      // What the first collection finds dead may have held something that only its finalizers let go.
      await ask("HeapProfiler.collectGarbage");
      await ask("HeapProfiler.collectGarbage");
      const expression = "(({ heapUsed, external }) => heapUsed + external)(process.memoryUsage())";
      return memorySchema.parse(await ask("Runtime.evaluate", { expression })).result.value;
    },
    [Symbol.dispose]: () => socket.close(),
  };
}
