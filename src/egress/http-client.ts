import type { Duplex } from "node:stream";
import type { Target } from "./gate.ts";
import type { Passage } from "./traffic.ts";

/** A program that has connected says what it wants within this time… */
const HEAD_MS = 20_000;
/** …and keeps a connection without a request no longer than this. */
const IDLE_MS = 65_000;
/** What was sent last arrives, although the connection is not read any more. */
const LINGER_MS = 1_000;
/** Requests that stand behind another one on its connection. */
const MAX_WAITING = 16;
/** Through one connection to the proxy, targets at once; the one that was opened first is forgotten. */
const MAX_PASSAGES = 16;

/** A connection of the sandbox on which requests are read, one after the other. It ends with its last passage on record. */
export class HttpClient {
  readonly connection: Duplex;
  /** Where it leads; absent when the program talks to the proxy. */
  readonly destination: Target | undefined;
  /** Aborts when the connection is gone. */
  readonly gone: AbortSignal;
  readonly #passages = new Map<string, Promise<Passage>>();
  #last: Promise<void> = Promise.resolve();
  #waiting = 0;
  #deadline: NodeJS.Timeout | undefined;

  constructor(connection: Duplex, destination: Target | undefined) {
    this.connection = connection;
    this.destination = destination;
    const gone = new AbortController();
    this.gone = gone.signal;
    connection.once("close", () => {
      clearTimeout(this.#deadline);
      gone.abort(new Error("the program has gone"));
      for (const it of this.#passages.values()) closeLater(it);
    });
    this.#expect(HEAD_MS);
  }

  /** Does something for a request when those before it are done. Too many that wait end the connection. */
  inTurn(act: () => Promise<void>): void {
    clearTimeout(this.#deadline);
    if (this.gone.aborted) return;
    this.#waiting += 1;
    if (this.#waiting > MAX_WAITING) {
      this.connection.destroy();
      return;
    }
    this.#last = this.#last.then(async () => {
      if (!this.gone.aborted) await act();
      this.#waiting -= 1;
      if (this.#waiting === 0) this.#expect(IDLE_MS);
    });
  }

  /** The passage to a target, opened when it is the first. */
  passage({ scheme, host, port }: Target, open: () => Promise<Passage>): Promise<Passage> {
    const key = `${scheme}://${host}:${port}`;
    const known = this.#passages.get(key);
    if (known) return known;
    const opened = open();
    opened.catch(() => this.#passages.delete(key));
    const [oldest] = this.#passages;
    if (this.#passages.size >= MAX_PASSAGES && oldest) {
      this.#passages.delete(oldest[0]);
      closeLater(oldest[1]);
    }
    this.#passages.set(key, opened);
    return opened;
  }

  /** Ends the connection when what was written has had time to arrive. */
  endSoon(last: string = ""): void {
    endSoon(this.connection, last);
  }

  #expect(patienceMs: number): void {
    clearTimeout(this.#deadline);
    if (this.gone.aborted) return;
    this.#deadline = setTimeout(() => this.endSoon(), patienceMs);
    this.#deadline.unref();
  }
}

/** Ends it, after these last bytes, which get some time to arrive; what it still says is not read. */
export function endSoon(connection: Duplex, last: string | Buffer = ""): void {
  if (connection.writable) connection.end(last);
  connection.resume();
  setTimeout(() => connection.destroy(), LINGER_MS).unref();
}

function closeLater(opened: Promise<Passage>): void {
  opened.then(
    (passage) => passage.close(),
    () => undefined,
  );
}
