import { constants } from "node:fs";
import { open } from "node:fs/promises";
import { z } from "zod";
import { GatewayError } from "../../errors.ts";
import { messageOf } from "../../lib/error.ts";
import { printable } from "../../lib/text.ts";
import { readYaml } from "../../policy/yaml.ts";
import { isChainName } from "../files.ts";
import { parseVerifierKey, type VerifierKey } from "./note.ts";

const MAX_FILE_BYTES = 4 * 1024 * 1024;

/** A key that an organisation says is one of its gateways'. */
export interface KnownKey {
  readonly verifier: VerifierKey;
  /** The gateway's name in the inventory. */
  readonly gateway: string;
  /** Milliseconds since 1970: what it signed before is not believed. */
  readonly sinceMs?: number;
  /** The same: from then on. */
  readonly untilMs?: number;
  /** Chains of which it is known that they are this gateway's: no other's key counts in them. */
  readonly chains?: readonly string[];
}

/** Every key of the inventory, as often as it is named there. */
export type KnownKeys = readonly KnownKey[];

const keySchema = z.string().transform((text, context): VerifierKey => {
  const key = parseVerifierKey(text);
  if (key) return key;
  const message =
    "must be a verifier key such as `glovebox audit key show` prints: <name>+<8 hex digits>+<44 characters>";
  context.addIssue({ code: "custom", message });
  return z.NEVER;
});
const chainSchema = z
  .string()
  .refine(isChainName, { error: "must be a chain's id, as `audit verify --json` names it: chain-…" });
const moment = z
  .union([z.iso.date(), z.iso.datetime({ offset: true })], {
    error: "must be a date (2026-11-21) or a time (2026-11-21T09:30:00Z)",
  })
  .transform((it) => Date.parse(it));

/** The file that an organisation keeps, away from its gateways: whose key is whose. */
const inventorySchema = z.strictObject({
  version: z.literal(1),
  gateways: z
    .array(
      z
        .strictObject({
          name: z.string().min(1).max(200),
          keys: z.array(keySchema).min(1).max(1_000),
          since: moment.optional(),
          until: moment.optional(),
          chains: z.array(chainSchema).max(100_000).optional(),
        })
        .refine(({ since, until }) => since === undefined || until === undefined || since < until, {
          path: ["until"],
          error: "must be after `since`",
        }),
    )
    .max(100_000)
    .superRefine((gateways, context) => {
      const owners = new Map<string, string>();
      for (const [at, { name, chains = [] }] of gateways.entries()) {
        for (const chain of chains) {
          const owner = owners.get(chain) ?? name;
          owners.set(chain, owner);
          if (owner === name) continue;
          const message = `${chain} is said to be \`${owner}\`'s and \`${name}\`'s`;
          context.addIssue({ code: "custom", message, path: [at, "chains"] });
        }
      }
    }),
});

/** @throws GatewayError CONFIG_INVALID with each place that is wrong */
export function parseKnownKeys(file: string, text: string): KnownKeys {
  const read = readYaml(file, text, inventorySchema);
  if ("problems" in read) {
    const lines = read.problems.map((it) => printable(`${it.file}:${it.line}:${it.column}: ${it.message}`, 500));
    throw new GatewayError("CONFIG_INVALID", lines.slice(0, 20).join("\n"));
  }
  return read.value.gateways.flatMap(({ name, keys, since, until, chains }) =>
    keys.map((verifier) => ({
      verifier,
      gateway: name,
      ...(since !== undefined && { sinceMs: since }),
      ...(until !== undefined && { untilMs: until }),
      ...(chains !== undefined && { chains }),
    })),
  );
}

/** The inventory in a file. @throws GatewayError CONFIG_INVALID */
export async function readKnownKeys(file: string): Promise<KnownKeys> {
  return parseKnownKeys(file, await readSmall(file, MAX_FILE_BYTES));
}

/** @throws GatewayError CONFIG_INVALID when it is no file, too large, not UTF-8, or can't be read */
export async function readSmall(file: string, maxBytes: number): Promise<string> {
  const refuse = (why: string, cause?: unknown) =>
    new GatewayError("CONFIG_INVALID", printable(`\`${file}\` cannot be read: ${why}`), { cause });
  try {
    await using handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
    const stats = await handle.stat();
    if (!stats.isFile()) throw refuse("it is not a file");
    if (stats.size > maxBytes) throw refuse(`it is larger than ${maxBytes} bytes`);
    return new TextDecoder("utf-8", { fatal: true }).decode(await handle.readFile());
  } catch (error) {
    if (error instanceof GatewayError) throw error;
    throw refuse(error instanceof TypeError ? "it is not UTF-8" : messageOf(error), error);
  }
}
