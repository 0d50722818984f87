import { join, resolve } from "node:path";
import { z } from "zod";
import type { BundleTrust } from "./distribution/fetch.ts";
import { type BundleSource, sourceSchema } from "./distribution/source.ts";
import type { LayerName } from "./layer.ts";

/** What a bundle has to show before it is believed. */
type LayerTrust = Partial<Omit<BundleTrust, "layer">>;

/** A layer as it is configured. */
export interface LayerSource {
  readonly name: LayerName;
  readonly source: BundleSource;
  readonly trust: LayerTrust;
  /** The file, option or variable that says so, for people. */
  readonly statedIn: string;
  /** Nobody but root may be able to change what it says, nor what it is read from. */
  readonly ownedByRoot: boolean;
}

/** Of a folder: absolute, or relative to the file that says so, or with `~/`. */
const folder = z
  .string()
  .min(1)
  .max(4_095)
  .refine((it) => it.isWellFormed() && !/\p{Cc}/u.test(it), "must be printable");

const source = sourceSchema(folder);

/** A folder's path, or an object that says what kind of source it is. */
export const policySourceSchema = z.preprocess((it) => (typeof it === "string" ? { directory: it } : it), source);

/** The same, with the folder's path absolute: what is relative lies below `base`, `~/` is `home`. */
export function sourceAt(source: BundleSource, base: string, home: string): BundleSource {
  if (!("directory" in source)) return source;
  const { directory } = source;
  return { directory: directory.startsWith("~/") ? join(home, directory.slice(2)) : resolve(base, directory) };
}
