import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { pack } from "tar-stream";
import { onTestFinished } from "vitest";
import { createSessionAuthority } from "../../src/egress/session-authority.ts";
import type { BundleFiles } from "../../src/policy/read-files.ts";

export interface BundleServer {
  /** Without a path: `https://localhost:…`. */
  readonly origin: string;
  /** In PEM: who vouches for it. */
  readonly authority: string;
  /** Method, path and `if-none-match` of what was asked. */
  readonly asked: readonly string[];
  answer: (request: IncomingMessage, response: ServerResponse) => void;
}

/** A TLS server on loopback under an authority of its own. */
export async function openBundleServer(answer: BundleServer["answer"]): Promise<BundleServer> {
  const authority = await createSessionAuthority();
  const context = await authority.contextFor("localhost");
  const asked: string[] = [];
  const server = createServer({ SNICallback: (_name, done) => done(null, context) }, (request, response) => {
    const { method, url, headers } = request;
    asked.push([method, url, headers["if-none-match"]].filter((it) => it !== undefined).join(" "));
    opened.answer(request, response);
  });
  server.on("tlsClientError", () => undefined);
  server.listen(0, "localhost");
  await once(server, "listening");
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  const opened: BundleServer = { origin: `https://localhost:${port}`, authority: authority.certificate, asked, answer };
  return opened;
}

export async function tarOf(files: BundleFiles): Promise<Buffer> {
  const archive = pack();
  for (const [name, content] of files) archive.entry({ name }, content);
  archive.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of archive as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}
