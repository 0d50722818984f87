import { createHash } from "node:crypto";
import { prepareSchema } from "../../src/policy/authorize.ts";
import type { Bundle } from "../../src/policy/bundle.ts";
import { type CedarFile, readCedar } from "../../src/policy/cedar-files.ts";
import type { LayerName, PolicyLayer } from "../../src/policy/layer.ts";
import { prepareSets } from "../../src/policy/prepare.ts";
import { profileSchema } from "../../src/policy/profile.ts";
import { OWN_VOCABULARY } from "../../src/policy/vocabulary.ts";

/** Validation takes longer than what is tested with it: once for each text. */
const validated = new Map<string, ReturnType<typeof readCedar>["parts"]>();

interface Options extends Partial<Pick<Bundle, "mode" | "narrows">> {
  /** As `profile.yaml` has it. */
  readonly stated?: unknown;
}

/** A bundle of these texts, each of which is a `t.cedar`. @throws Error naming what is wrong with them */
export function bundleOf(
  policies: string | readonly string[],
  { mode = "enforce", narrows = false, stated = {} }: Options = {},
): Bundle {
  prepareSchema(OWN_VOCABULARY);
  const texts = [policies].flat();
  const parts = texts.flatMap((text) => partsOf({ name: "t.cedar", text }, narrows));
  const text = JSON.stringify([...texts, narrows]);
  const digest = `sha256:${createHash("sha256").update(text).digest("hex")}`;
  const { sets, problems } = prepareSets(digest, parts);
  if (problems.length > 0) throw new Error(problems.map((it) => it.message).join("; "));
  return {
    identity: { name: "t", version: "1.0.0", digest },
    profile: profileSchema.parse(stated),
    stated,
    policies: new Map(parts.map((it) => [it.id, it])),
    narrows,
    mode,
    sets,
    vocabulary: OWN_VOCABULARY,
  };
}

export function layerOf(name: LayerName, policies: string | readonly string[], options: Options = {}): PolicyLayer {
  return { name, bundle: bundleOf(policies, options), origin: `test:${name}` };
}

function partsOf(file: CedarFile, narrows: boolean) {
  const key = `${narrows} ${file.text}`;
  const known = validated.get(key);
  if (known) return known;
  const { parts, problems } = readCedar([file], { narrows, vocabulary: OWN_VOCABULARY });
  if (problems.length > 0) throw new Error(problems.map((it) => it.message).join("; "));
  validated.set(key, parts);
  return parts;
}
