import type { Readable } from "node:stream";
import type { HttpTarget } from "./http-target.ts";

export interface SiteAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Buffer | string | Readable;
}

/** Addresses at which the gateway itself answers: no connection leads there, whatever policy says of `connect`. */
export interface LocalSite {
  /** Resolves when `claims` can be asked. Never rejects. */
  readonly ready: Promise<void>;
  /** `host` in its one spelling. */
  claims(host: string, port: number): boolean;
  answer(
    target: HttpTarget,
    request: { readonly method: string; readonly accept: string },
    signal: AbortSignal,
  ): Promise<SiteAnswer>;
}
