import { type Duplex, Readable } from "node:stream";
import { GatewayError } from "../errors.ts";

/** What each output stream holds for a reader that is behind; then the program waits. */
const BUFFER_BYTES = 65_536;

export interface Outputs {
  readonly stdout: Readable;
  readonly stderr: Readable;
  /** Resolves at the first byte, or at the end when there is none. */
  readonly stirred: Promise<void>;
  /** Resolves when the connection has ended: cleanly, or with what was wrong with it (never rejects). */
  readonly ended: Promise<Error | undefined>;
}

interface Sink {
  readonly readable: Readable;
  /** Resolves when the reader wants more. What nobody reads any more (destroyed) is dropped. */
  put(bytes: Buffer): Promise<void> | void;
  end(): void;
}

/** Hands on what has come; nothing more is read until it has. What it throws ends the connection. */
export type Take = (chunk: Buffer, sinks: { readonly stdout: Sink; readonly stderr: Sink }) => Promise<void> | void;

/**
 * A program's outputs, taken from its connection. The streams end, without an error, however the connection does: `ended` tells
 * how. `atEnd` throws when the connection can't have ended there.
 */
export function outputsOf(connection: Duplex, take: Take, atEnd: () => void = () => undefined): Outputs {
  const stir = Promise.withResolvers<void>();
  const sinks = { stdout: sink(), stderr: sink() };
  const pump = async () => {
    for await (const chunk of connection as AsyncIterable<Buffer>) {
      stir.resolve();
      await take(chunk, sinks);
    }
    atEnd();
  };
  // An error that comes when nobody iterates any more is the connection's end and nothing else.
  connection.on("error", () => stir.resolve());
  const ended = pump()
    .then(
      () => undefined,
      (error: unknown) => (error instanceof Error ? error : new GatewayError("INTERNAL", undefined, { cause: error })),
    )
    .finally(() => {
      stir.resolve();
      sinks.stdout.end();
      sinks.stderr.end();
    });
  return { stdout: sinks.stdout.readable, stderr: sinks.stderr.readable, stirred: stir.promise, ended };
}

/** All that comes is one output: what the engine sends of a terminal. */
export function undivided(connection: Duplex): Outputs {
  return outputsOf(connection, (chunk, { stdout }) => stdout.put(chunk));
}

function sink(): Sink {
  let wanted = Promise.withResolvers<void>();
  const readable = new Readable({
    highWaterMark: BUFFER_BYTES,
    read: () => wanted.resolve(),
    destroy: (error, done) => {
      wanted.resolve();
      done(error);
    },
  });
  // Only a reader that destroys the stream makes it fail, and that reader knows.
  readable.on("error", () => undefined);
  return {
    readable,
    put: (bytes) => {
      wanted = Promise.withResolvers();
      if (readable.destroyed || readable.push(bytes)) return;
      return wanted.promise;
    },
    end: () => readable.push(null),
  };
}
