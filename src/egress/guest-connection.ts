import { Duplex } from "node:stream";
import { z } from "zod";
import { frameSplitter } from "../container/frames.ts";
import type { AgentService, Machine } from "../engine/engine.ts";
import { asGatewayError, GatewayError } from "../errors.ts";

/** Answers of `/connection` and `/dial` (`guest/agent/connection.go`). One of the fields is there. */
const message = z.union([
  z.strictObject({ opened: z.strictObject({ host: z.string().max(253), port: z.int().min(0).max(65_535) }) }),
  z.strictObject({ failed: z.strictObject({ code: z.string().max(300) }) }),
  z.strictObject({ ended: z.literal(true) }),
]);

/** What a program in the sandbox dialled. */
export interface Opened {
  /** A name or an IPv4 address; empty when it talks to the proxy. */
  readonly host: string;
  readonly port: number;
}

type Ports = Pick<Machine, "connect" | "condemn">;

/**
 * A TCP connection of the sandbox's loopback, at the other end of the channel. Both sides' ends are passed on, and so is each side's pace.
 * One that is broken off is an error. A guest agent that breaks the protocol loses its machine.
 */
export class GuestConnection extends Duplex {
  /** Rejects when there will be no connection. */
  readonly opened: Promise<Opened>;
  readonly #opening = Promise.withResolvers<Opened>();
  readonly #tunnel: Duplex;
  readonly #split = frameSplitter(true);
  #isOpen = false;
  #hasEnded = false;
  #message: Buffer[] = [];

  constructor(machine: Ports, service: Extract<AgentService, "/connection" | "/dial">, question: object) {
    super({ allowHalfOpen: true });
    this.opened = this.#opening.promise;
    this.opened.catch(() => undefined);
    // Pipelines on both sides, TLS and HTTP each add some.
    this.setMaxListeners(32);
    this.#tunnel = machine.connect(service);
    // Whoever holds it also listens; an error between two holders must not end the gateway.
    this.on("error", () => undefined);
    this.#tunnel.on("data", (chunk: Buffer) => {
      try {
        if (!this.#take(chunk)) this.#tunnel.pause();
      } catch (error) {
        machine.condemn(asGatewayError(error));
        this.destroy(asGatewayError(error));
      }
    });
    this.#tunnel.on("end", () => this.#hasEnded || this.destroy(brokenOff()));
    this.#tunnel.on("error", (error) => this.destroy(error));
    // Both have ended, or one of them never will.
    this.#tunnel.on("close", () => (this.#hasEnded && this.writableFinished) || this.destroy(brokenOff()));
    const head = Buffer.from(JSON.stringify(question));
    const prefix = Buffer.alloc(4);
    prefix.writeUInt32BE(head.length);
    this.#tunnel.write(Buffer.concat([prefix, head]));
  }

  override _read(): void {
    this.#tunnel.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.#tunnel.destroyed) done(brokenOff());
    else this.#tunnel.write(chunk, done);
  }

  override _final(done: (error?: Error | null) => void): void {
    // A stream that is gone would not say that it has ended.
    if (this.#tunnel.destroyed) done(brokenOff());
    else this.#tunnel.end(done);
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#opening.reject(error ?? brokenOff());
    this.#tunnel.destroy();
    done(error);
  }

  /** Whether more is wanted. */
  #take(chunk: Buffer): boolean {
    let wanted = true;
    for (const { stream, bytes, last } of this.#split(chunk)) {
      if (stream === "message") {
        this.#message.push(bytes);
        if (last) this.#obey(Buffer.concat(this.#message.splice(0)));
      } else if (stream === "stdout" && this.#isOpen && !this.#hasEnded) {
        wanted = this.push(bytes);
      } else {
        throw new GatewayError("CHANNEL_VIOLATION", "bytes of a connection that is not open");
      }
    }
    return wanted;
  }

  #obey(text: Buffer): void {
    const said = readMessage(text);
    if ("opened" in said && !this.#isOpen) {
      this.#isOpen = true;
      this.#opening.resolve(said.opened);
    } else if ("failed" in said && !this.#isOpen) {
      this.destroy(new GatewayError("CONNECTION_FAILED", said.failed.code));
    } else if ("ended" in said && this.#isOpen && !this.#hasEnded) {
      this.#hasEnded = true;
      this.push(null);
    } else {
      throw new GatewayError("CHANNEL_VIOLATION", "a message about a connection that doesn't fit");
    }
  }
}

function brokenOff(): GatewayError {
  return new GatewayError("CONNECTION_FAILED", "broken off");
}

function readMessage(text: Buffer): z.infer<typeof message> {
  try {
    return message.parse(JSON.parse(text.toString("utf8")));
  } catch (cause) {
    throw new GatewayError("CHANNEL_VIOLATION", "a message about a connection can't be read", { cause });
  }
}
