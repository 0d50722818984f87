import { mkdtemp, rm } from "node:fs/promises";
import { createServer, connect as dial, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Two ends of one real local socket, as a machine's channel is. */
export interface SocketPair extends AsyncDisposable {
  readonly near: Socket;
  readonly far: Socket;
}

export async function socketPair(): Promise<SocketPair> {
  const directory = await mkdtemp(join(tmpdir(), "pair-"));
  const path = join(directory, "s");
  const accepted = Promise.withResolvers<Socket>();
  const server = createServer({ allowHalfOpen: false }, accepted.resolve);
  try {
    await new Promise<void>((resolve) => server.listen(path, resolve));
    const near = dial(path);
    const far = await accepted.promise;
    return {
      near,
      far,
      async [Symbol.asyncDispose]() {
        near.destroy();
        far.destroy();
      },
    };
  } finally {
    server.close();
    await rm(directory, { recursive: true, force: true });
  }
}
