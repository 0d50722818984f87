import { Transform } from "node:stream";
import type { Keeping } from "./cache.ts";
import type { Draft, Incoming } from "./incoming.ts";
import type { Sweeper } from "./sweep.ts";

/** Where a cache can be written. */
export interface Writing {
  readonly incoming: Incoming;
  readonly sweeper: Sweeper;
}

/** Bytes on their way to a place. Whatever fails, nothing is thrown: then they are not kept. */
export interface Copy extends AsyncDisposable {
  write(bytes: Uint8Array): Promise<void>;
  place(): Promise<void>;
}

/** @param complain is told why something is not kept */
export async function startCopy(
  path: string,
  writing: Writing | undefined,
  complain: (error: unknown) => undefined,
): Promise<Copy> {
  let bytes = 0;
  let draft: Draft | undefined = await writing?.incoming.draft().catch(complain);
  const discard = async () => {
    const discarded = draft;
    draft = undefined;
    await discarded?.discard().catch(complain);
  };
  const attempt = async (step: (draft: Draft) => Promise<void>) => {
    if (!draft) return;
    try {
      await step(draft);
    } catch (error) {
      // A write that was in progress when the copy was given up fails too.
      if (draft) complain(error);
      await discard();
    }
  };
  return {
    write: (piece) => {
      bytes += piece.length;
      return attempt((it) => it.write(piece));
    },
    place: () =>
      attempt(async (it) => {
        if (writing?.sweeper.admit(bytes)) await it.place(path);
      }),
    [Symbol.asyncDispose]: discard,
  };
}

export function keepingOf(copy: Copy): Keeping {
  let whole = false;
  const stream = new Transform({
    transform: (piece: Buffer, _encoding, done) => void copy.write(piece).then(() => done(null, piece), done),
    flush: (done) => {
      whole = true;
      done();
    },
  });
  return {
    stream,
    commit: async () => {
      if (whole) await copy.place();
    },
    [Symbol.asyncDispose]: () => copy[Symbol.asyncDispose](),
  };
}
