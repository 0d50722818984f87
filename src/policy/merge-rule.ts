import { isDeepStrictEqual } from "node:util";
import type { z } from "zod";

/** What two statements come to. `notes`: what the inner one says and does not hold, for people. */
interface Merged<T> {
  readonly value: T;
  readonly notes?: readonly string[];
}

/** How the statements of several layers about one key become one. Statements are as `profile.yaml` has them. */
export interface Rule {
  readonly kind: "rule";
  /** A statement in its one spelling, which merges into itself. */
  readonly read: (stated: unknown) => unknown;
  readonly merge: (outer: unknown, inner: unknown) => Merged<unknown>;
}

/** Keys and how each is merged. */
export type MergeNode =
  | Rule
  | { readonly kind: "section"; readonly keys: Readonly<Record<string, MergeNode>> }
  /** Of a record whose keys are anybody's: those of all layers, each merged by itself. */
  | { readonly kind: "each"; readonly rule: Rule }
  /** It stands for Cedar policies, by which each layer decides: there is nothing to merge. */
  | { readonly kind: "cedar" };

/** `merge` is told of both in their schema's words, `write` puts the result in those of `profile.yaml`. */
export function rule<T>(
  schema: z.ZodType<T>,
  merge: (outer: T, inner: T) => Merged<T>,
  write: (value: T) => unknown = (it) => it,
): Rule {
  return {
    kind: "rule",
    read: (stated) => write(schema.parse(stated)),
    merge: (outer, inner) => {
      const { value, notes = [] } = merge(schema.parse(outer), schema.parse(inner));
      return { value: write(value), notes };
    },
  };
}

/** The outermost layer that states it decides. */
export function outermost<T>(schema: z.ZodType<T>): Rule {
  return rule(schema, (outer, inner) => ({
    value: outer,
    notes: isDeepStrictEqual(outer, inner)
      ? []
      : [`${JSON.stringify(inner)} does not hold: ${JSON.stringify(outer)} does`],
  }));
}

/** Of two of these values, the one that stands later in the list. */
export function strictest<T extends z.util.EnumLike>(schema: z.ZodEnum<T>, order: readonly z.output<z.ZodEnum<T>>[]) {
  return rule(schema, (outer, inner) => ({ value: order.indexOf(inner) > order.indexOf(outer) ? inner : outer }));
}

export function section(keys: Readonly<Record<string, MergeNode>>): MergeNode {
  return { kind: "section", keys };
}

export function each(of: Rule): MergeNode {
  return { kind: "each", rule: of };
}

/** Left to the policies of each layer. */
export const BY_CEDAR: MergeNode = { kind: "cedar" };
