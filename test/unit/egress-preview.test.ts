import { once } from "node:events";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { expect, test } from "vitest";
import { openPreview, type Preview } from "../../src/egress/preview.ts";
import { createPreviews } from "../../src/egress/previews.ts";
import { GatewayError } from "../../src/errors.ts";
import { openTcp } from "../support/egress.ts";

const log = { warn: () => undefined } as never;

/** A preview of a server that answers every connection with these bytes. */
async function previewOf(bytes: string): Promise<{ preview: Preview } & AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const { port } = stack.use(
    await openTcp((socket) => socket.once("data", () => socket.end(Buffer.from(bytes, "latin1")))),
  );
  const dial = async () => connect({ port, host: "127.0.0.1", allowHalfOpen: true });
  const preview = stack.use(await openPreview({ port, dial, log }));
  const owned = stack.move();
  return { preview, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

async function ask({ hostPort, token }: Preview, more: string): Promise<string> {
  const socket = connect(hostPort, "127.0.0.1");
  await once(socket, "connect");
  socket.write(`GET / HTTP/1.1\r\nHost: localhost:${hostPort}\r\nAuthorization: Bearer ${token}\r\n${more}\r\n\r\n`);
  return (await text(socket)).replaceAll("\r\n", "\n");
}

const ODD: readonly (readonly [what: string, bytes: string, begins: RegExp, ends: string])[] = [
  ["a status below all", "HTTP/1.1 000 X\r\nContent-Length: 0\r\n\r\n", /^HTTP\/1\.1 502 /, ""],
  ["a status above all", "HTTP/1.1 999 X\r\nContent-Length: 0\r\n\r\n", /^HTTP\/1\.1 502 /, ""],
  ["a status of too many digits", "HTTP/1.1 1000 X\r\n\r\n", /^HTTP\/1\.1 502 /, ""],
  [
    "a reason that no header may hold",
    "HTTP/1.1 200 a\x01b\r\nContent-Length: 2\r\n\r\nhi",
    /^HTTP\/1\.1 200 OK\n/,
    "\n\nhi",
  ],
  ["a value that no header may hold", "HTTP/1.1 200 OK\r\nX: a\x01b\r\n\r\n", /^HTTP\/1\.1 502 /, ""],
  ["a name that no header may have", "HTTP/1.1 200 OK\r\nX@: a\r\n\r\n", /^HTTP\/1\.1 502 /, ""],
  [
    "two lengths",
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    /^HTTP\/1\.1 502 /,
    "",
  ],
  ["endless headers", `HTTP/1.1 200 OK\r\nX: ${"a".repeat(70_000)}`, /^HTTP\/1\.1 502 /, ""],
  [
    "a second answer",
    "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\naHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb",
    /^HTTP\/1\.1 200 OK\n/,
    "\n\na",
  ],
  ["less than it says", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc", /^HTTP\/1\.1 200 OK\n/, "\n\nabc"],
  [
    "many beginnings",
    `${"HTTP/1.1 103 Early\r\nLink: x\r\n\r\n".repeat(500)}HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na`,
    /^HTTP\/1\.1 200 OK\n/,
    "\n\na",
  ],
  ["nothing", "", /^HTTP\/1\.1 502 /, ""],
];

test.each(ODD)("an answer with %s harms nobody", async (_what, bytes, begins, ends) => {
  await using open = await previewOf(bytes);
  for (const more of ["Connection: close", "Connection: Upgrade\r\nUpgrade: websocket"]) {
    const answer = await ask(open.preview, more);
    expect(answer).toMatch(begins);
    expect(answer.endsWith(ends)).toBe(true);
  }
});

test("an answer in chunks to who wanted to upgrade is whole", async () => {
  await using open = await previewOf("HTTP/1.1 426 X\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n0\r\n\r\n");
  const answer = await ask(open.preview, "Connection: Upgrade\r\nUpgrade: websocket");
  expect(answer).toMatch(/^HTTP\/1\.1 426 Upgrade Required\n/);
  expect(answer).not.toMatch(/transfer-encoding/i);
  expect(answer.endsWith("\n\nno")).toBe(true);
});

test("who upgrades without the token does not keep the connection", async () => {
  await using open = await previewOf("");
  const socket = connect({ port: open.preview.hostPort, host: "127.0.0.1", allowHalfOpen: true });
  socket.write(
    `GET / HTTP/1.1\r\nHost: localhost:${open.preview.hostPort}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n`,
  );
  expect(await text(socket)).toMatch(/^HTTP\/1\.1 403 /);
  const probing = setInterval(() => socket.write("x"), 100);
  // Nobody is at the other end any more.
  await expect(once(socket, "close")).rejects.toMatchObject({ code: expect.stringMatching(/EPIPE|ECONNRESET/) });
  clearInterval(probing);
});

test("while the sandbox can't be woken, who asks is told", async () => {
  const dial = () => Promise.reject(new GatewayError("STILL_PREPARING", "the sandbox is still being prepared"));
  using preview = await openPreview({ port: 1, dial, log });
  const answer = await ask(preview, "Connection: close");
  expect(answer).toMatch(/^HTTP\/1\.1 503 /);
  expect(answer).toContain("glovebox: the sandbox is still being prepared\n");
});

test("a port that can't be put on record is not exposed", async () => {
  let isWritable = false;
  const append = async () => {
    if (!isWritable) throw new GatewayError("AUDIT_UNWRITABLE");
  };
  const dial = () => Promise.reject(new GatewayError("CONNECTION_FAILED"));
  using previews = createPreviews({ sessionId: "ses-1", audit: { append }, log, dial });
  await expect(previews.expose(8000)).rejects.toMatchObject({ code: "AUDIT_UNWRITABLE" });
  expect(previews.exposed).toEqual([]);
  isWritable = true;
  const { hostPort } = await previews.expose(8000);
  isWritable = false;
  // It is closed all the same.
  await expect(previews.close(8000)).rejects.toMatchObject({ code: "AUDIT_UNWRITABLE" });
  expect(previews.exposed).toEqual([]);
  await expect(once(connect(hostPort, "127.0.0.1"), "connect")).rejects.toMatchObject({ code: "ECONNREFUSED" });
});
