import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import type { AuditRecord } from "../../src/audit/record.ts";

/** A directory that is gone when the test is over. */
export function scratch(): string {
  const directory = mkdtempSync(join(tmpdir(), "glovebox-audit-"));
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

export function chains(directory: string): string[] {
  return readdirSync(directory).filter((name) => name.startsWith("chain-"));
}

export function onlyChain(directory: string): string {
  const [chain, ...others] = chains(directory);
  if (chain === undefined || others.length > 0) throw new Error(`expected one chain, found ${others.length + 1}`);
  return join(directory, chain);
}

export function segments(chainDirectory: string): string[] {
  return readdirSync(chainDirectory)
    .filter((name) => name.endsWith(".jsonl"))
    .sort();
}

/** All records of a chain, or of one of its segments, without any check. */
export function recordsOf(chainDirectory: string, segment?: string): AuditRecord[] {
  return (segment === undefined ? segments(chainDirectory) : [segment]).flatMap((name) =>
    readFileSync(join(chainDirectory, name), "utf8")
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => JSON.parse(line)),
  );
}

/** A file of the lines of chains, one chain after the other, as an export or a receiver has them. */
export function linesFile(...chainDirectories: readonly string[]): string {
  const file = join(scratch(), "received.jsonl");
  const texts = chainDirectories.flatMap((it) => segments(it).map((name) => readFileSync(join(it, name), "utf8")));
  writeFileSync(file, texts.join(""));
  return file;
}
