import { createHash } from "node:crypto";
import type { SkipReason } from "./rules.ts";

const MAX_LISTED = 100;

export interface Skipped {
  readonly path: string;
  readonly reason: SkipReason;
}

/** What was copied, and what was not and why: all of it counted, the first of it listed. */
export class Report {
  readonly #files = new Map<string, string>();
  readonly #counts = new Map<SkipReason, number>();
  readonly listed: Skipped[] = [];
  bytes = 0;
  links = 0;

  get files(): number {
    return this.#files.size;
  }

  /** How often each reason was one. */
  get skipped(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#counts);
  }

  add(name: string, bytes: number, sha256: string): void {
    this.#files.set(name, sha256);
    this.bytes += bytes;
  }

  skip(path: string, reason: SkipReason): void {
    this.#counts.set(reason, (this.#counts.get(reason) ?? 0) + 1);
    if (this.listed.length < MAX_LISTED) this.listed.push({ path, reason });
  }

  /** SHA-256 of what `sha256sum` prints for all the files, in the order of their names' bytes. */
  digest(): string {
    const names = [...this.#files.keys()].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
    const hash = createHash("sha256");
    for (const name of names) hash.update(line(name, this.#files.get(name) ?? ""));
    return hash.digest("hex");
  }
}

function line(name: string, sha256: string): string {
  const escaped = name.replaceAll("\\", "\\\\").replaceAll("\n", "\\n").replaceAll("\r", "\\r");
  return `${escaped === name ? "" : "\\"}${sha256}  ${escaped}\n`;
}
