import { type Duplex, Writable } from "node:stream";
import type { RunSpec } from "./container.ts";

const END_OF_FILE = "\x04";
const NEWLINES: readonly (number | undefined)[] = [0x0a, 0x0d];

/** The writing half of a program's connection, as its standard input. */
export function inputOf({ terminal }: RunSpec, connection: Duplex): Writable {
  const stdin = new Writable(terminal ? keyboard(connection) : pipe(connection));
  // A program that doesn't read its input to the end is not a failure; the writer's callbacks tell of it.
  stdin.on("error", () => undefined);
  connection.once("close", () => stdin.destroy());
  return stdin;
}

type Sink = Required<Pick<ConstructorParameters<typeof Writable>[0] & object, "write" | "final">>;

/** Its end is the program's end-of-file. */
function pipe(connection: Duplex): Sink {
  return {
    write: (chunk, _encoding, done) => void connection.write(chunk, done),
    final: (done) => void connection.end(done),
  };
}

/**
 * A terminal can't be half-closed, and the engine takes the end of its input for the end of all: an end is typed. In the middle of a
 * line ^D only hands over what is there, so it takes another.
 */
function keyboard(connection: Duplex): Sink {
  let last: number | undefined = NEWLINES[0];
  return {
    write: (chunk: Buffer, _encoding, done) => {
      last = chunk.at(-1) ?? last;
      connection.write(chunk, done);
    },
    final: (done) => void connection.write(NEWLINES.includes(last) ? END_OF_FILE : END_OF_FILE.repeat(2), done),
  };
}
