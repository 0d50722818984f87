import { type ClientHttp2Stream, constants } from "node:http2";
import { Duplex } from "node:stream";
import { GatewayError } from "../errors.ts";

/**
 * One HTTP/2 stream as a socket, also for `node:http`. (Used directly as a socket, an `Http2Stream` hangs requests with a
 * body.) Back-pressure is passed on both ways, and so is each side's end. Bytes count only once the guest has accepted the
 * tunnel. A stream that breaks is an error here: a response cut short is never taken for a complete one.
 */
export class Tunnel extends Duplex {
  readonly #stream: ClientHttp2Stream;
  #ended = false;

  constructor(stream: ClientHttp2Stream) {
    super({ allowHalfOpen: true });
    this.#stream = stream;
    // Whoever holds the tunnel also listens; an error between two holders must not end the gateway.
    this.on("error", () => undefined);
    stream.on("response", (headers) => {
      if (headers[":status"] !== 200) {
        this.destroy(new GatewayError("CONTAINER_FAILED", "The guest did not open a connection."));
      }
    });
    stream.on("data", (chunk: Buffer) => {
      if (!this.push(chunk)) stream.pause();
    });
    stream.on("end", () => {
      // Node ends the reading side of a stream that was reset, or whose session was destroyed, too.
      if (stream.destroyed || stream.rstCode) return;
      this.#ended = true;
      this.push(null);
    });
    stream.on("error", (error) => this.destroy(error));
    stream.on("close", () => {
      if (!this.#ended) this.destroy(brokenStream());
      // What came before the end may not have been read yet: destroying now would drop it.
      else if (this.readableEnded) this.destroy();
      else this.once("end", () => this.destroy());
    });
  }

  override _read(): void {
    this.#stream.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    this.#stream.write(chunk, done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#stream.end(() => done());
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    if (!this.#stream.closed) this.#stream.close(constants.NGHTTP2_CANCEL);
    done(error);
  }

  // What `node:http` expects of a socket beyond a stream. Deadlines are the callers' (AbortSignal), not the socket's.
  setTimeout(): this {
    return this;
  }
  setNoDelay(): this {
    return this;
  }
  setKeepAlive(): this {
    return this;
  }
  ref(): this {
    return this;
  }
  unref(): this {
    return this;
  }
}

function brokenStream(): GatewayError {
  return new GatewayError("MACHINE_LOST", "The connection to the sandbox broke off.");
}
