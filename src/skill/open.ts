import type { Json } from "../audit/record.ts";
import { problemText } from "../policy/bundle.ts";
import { readCollections } from "./collection.ts";
import { createShelf, type Shelf } from "./shelf.ts";

export interface OpenSkills {
  readonly shelf: Shelf;
  /** For the record: what is there. */
  readonly loaded: readonly Json[];
  /** For the record: what is there and not used, and why. */
  readonly refused: readonly Record<string, Json>[];
}

/**
 * Reads the skills below these directories, once: what is changed afterwards is not seen before the next start. One that is not as its lock has
 * it is refused, as is one that is not valid; the others are used.
 * @param tools names that are taken
 */
export async function openSkills(directories: readonly string[], tools: ReadonlySet<string>): Promise<OpenSkills> {
  const collections = await readCollections(directories, tools);
  const known = collections.flatMap(({ skills, signedBy }) =>
    skills.flatMap(({ skill, state }) => {
      if (state === "changed") return [];
      return [{ skill, pinned: state === "pinned", signedBy: state === "pinned" ? signedBy.toSorted() : [] }];
    }),
  );
  const changed = collections.flatMap(({ directory, skills, problems }) =>
    skills
      .filter((it) => it.state === "changed")
      .map(({ skill: { name, digest }, locked }) => ({
        skill: name,
        directory,
        digest,
        why: [
          `it is not what skills.lock has (${locked?.digest ?? "the lock can't be believed"}): review it, then \`glovebox skill lock\``,
          ...problems.map(problemText),
        ],
      })),
  );
  const invalid = collections.flatMap(({ refused }) =>
    refused.map(({ directory, problems }) => ({ directory, why: problems.map(problemText) })),
  );
  const loaded = known.map(({ skill: { name, version, digest }, pinned, signedBy }) => {
    return { name, version, digest, pinned, signedBy: [...signedBy] };
  });
  return { shelf: createShelf(known), loaded, refused: [...changed, ...invalid] };
}
