import { createHash } from "node:crypto";
import { type FileHandle, open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import type { GuestFacts } from "../engine.ts";
import { digestOf, type FileDigest, fileDigest, isSame } from "./digest.ts";
import { sealFile } from "./seal.ts";

/** A saved machine: `template.json` beside the three files it tells of. */
export const TEMPLATE_FILES = { memory: "memory", state: "state", disk: "disk.qcow2", facts: "template.json" } as const;

const MAX_STATE_BYTES = 64 * 1024 * 1024;

const templateSchema = z.strictObject({
  version: z.literal(1),
  guest: z.strictObject({ bootId: z.string(), kernelRelease: z.string() }),
  prepared: z.string().max(1_000),
  /** By which a guest knows that it is a copy. */
  marker: z.base64().length(44),
  memory: fileDigest,
  state: fileDigest,
  disk: fileDigest,
});
export type TemplateFacts = z.infer<typeof templateSchema>;

/** A template whose contents have been compared with their digests, and that nobody can change any more. */
export interface LoadedTemplate {
  readonly guest: GuestFacts;
  readonly prepared: string;
  /** By which the guest knows that it is a copy, and its host where its own conversation begins. */
  readonly marker: Buffer;
  /** Sealed: it can be mapped and never be written. */
  readonly memory: FileHandle;
  /** Open for reading; it stays when the file is removed. */
  readonly disk: FileHandle;
  readonly state: Buffer;
  [Symbol.asyncDispose](): Promise<void>;
}

/** The template is damaged: not what was saved. */
export class TemplateDamaged extends Error {}

/** @throws TemplateDamaged, or an error of the file system */
export async function loadTemplate(directory: string, seal: string, signal: AbortSignal): Promise<LoadedTemplate> {
  const at = (name: keyof typeof TEMPLATE_FILES) => join(directory, TEMPLATE_FILES[name]);
  const facts = parseFacts(await readFile(at("facts"), "utf8"));
  await using stack = new AsyncDisposableStack();
  const disk = keep(stack, await open(at("disk")));
  await compare("disk", await digestOf(`/proc/self/fd/${disk.fd}`), facts.disk);
  const state = await readFile(at("state"));
  if (state.length > MAX_STATE_BYTES) throw new TemplateDamaged("its state is too long");
  await compare("state", { sizeBytes: state.length, sha256: sha256(state) }, facts.state);
  const memory = keep(stack, await sealFile(seal, at("memory"), signal));
  // After it was sealed: what is compared is what every copy maps.
  await compare("memory", await digestOf(`/proc/self/fd/${memory.fd}`), facts.memory);
  const owned = stack.move();
  const { guest, prepared } = facts;
  const marker = Buffer.from(facts.marker, "base64");
  return { guest, prepared, marker, memory, disk, state, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

function sha256(content: Buffer): string {
  return createHash("sha256").update(content).digest("hex");
}

function compare(name: string, found: FileDigest, expected: FileDigest): void {
  if (!isSame(found, expected)) throw new TemplateDamaged(`its ${name} is not what was saved`);
}

function parseFacts(text: string): TemplateFacts {
  try {
    return templateSchema.parse(JSON.parse(text));
  } catch (cause) {
    throw new TemplateDamaged("its description can't be read", { cause });
  }
}

function keep(stack: AsyncDisposableStack, handle: FileHandle): FileHandle {
  stack.defer(() => handle.close());
  return handle;
}
