import type { Readable, Transform } from "node:stream";
import type { Integrity } from "../registry.ts";

/** Files of packages, by the digest that their registry promises, and documents about them; shared by the sessions of all gateways. */
export interface PackageCache {
  /**
   * A file whose content has been checked against its key just now; `undefined` when there is none. One that does not match any more is
   * removed.
   */
  open(key: Integrity, signal: AbortSignal): Promise<CachedFile | undefined>;
  /** Keeps what passes through it. It is kept from `commit` on, and not at all without. Never fails for want of room: then nothing is kept. */
  keep(key: Integrity): Promise<Keeping>;
  document(key: string): Promise<CachedDocument | undefined>;
  putDocument(key: string, document: CachedDocument): Promise<void>;
}

export interface CachedFile {
  readonly sizeBytes: number;
  /** Of the whole file, lower-case hexadecimal. */
  readonly sha256: string;
  /** Of the file that was checked: once. Closes it at the end. */
  read(): Readable;
  close(): Promise<void>;
}

export interface Keeping extends AsyncDisposable {
  readonly stream: Transform;
  /** The caller has checked all that passed. */
  commit(): Promise<void>;
}

export interface CachedDocument {
  readonly fetchedMs: number;
  /** Status, content type and headers; JSON. */
  readonly head: string;
  readonly body: Buffer;
}
