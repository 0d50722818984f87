import type { PolicyJson } from "@cedar-policy/cedar-wasm/nodejs";
import type { BundlePolicy } from "./bundle.ts";
import { CHANNELS, type ChannelName } from "./decision.ts";

/** Those that have a meaning; any other is a mistake, or a wish that would be ignored. */
const KNOWN = ["id", "reason", "outcome", "mode", "channels"];
const ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/;

/** What a policy's annotations make of it. */
export function annotated({ annotations = {} }: PolicyJson): Pick<BundlePolicy, "mode" | "ask"> {
  const mode = annotations["mode"] === "shadow" ? "shadow" : "enforce";
  if (annotations["outcome"] !== "ask") return { mode };
  const named = channelsOf(annotations["channels"]);
  return { mode, ask: named === undefined ? CHANNELS : CHANNELS.filter((it) => named.includes(it)) };
}

export function annotationProblems({ effect, annotations = {} }: PolicyJson): { message: string; fix: string }[] {
  const problems: { message: string; fix: string }[] = [];
  const { id, outcome, mode, channels, reason } = annotations;
  for (const name of Object.keys(annotations).filter((it) => !KNOWN.includes(it))) {
    const fix = `use ${KNOWN.map((it) => `\`@${it}\``).join(", ")}`;
    problems.push({ message: `the annotation \`@${name}\` is unknown`, fix });
  }
  if (id !== undefined && !ID.test(id ?? "")) {
    problems.push({ message: "the id is not a name", fix: "use letters, digits, dots, dashes and underscores" });
  }
  if (effect === "forbid" && !reason?.trim()) {
    problems.push({
      message: "a forbid has no reason",
      fix: 'write `@reason("…")` above it: people and models read it when they are refused',
    });
  }
  if (outcome !== undefined && outcome !== "ask") {
    problems.push({ message: `there is no outcome \`${outcome}\``, fix: 'write `@outcome("ask")`, or leave it out' });
  }
  if (outcome !== undefined && effect === "permit") {
    const fix = "write a permit, and beside it a forbid with the outcome for what needs a person";
    problems.push({ message: "a permit can't ask", fix });
  }
  if (mode !== undefined && mode !== "shadow") {
    problems.push({ message: `there is no mode \`${mode}\``, fix: 'write `@mode("shadow")`, or leave it out' });
  }
  if (channels !== undefined && (outcome !== "ask" || !areChannels(channelsOf(channels)))) {
    const fix = `name some of ${CHANNELS.join(", ")}, beside \`@outcome("ask")\``;
    problems.push({ message: "the channels are none by which a person can be asked", fix });
  }
  return problems;
}

/** `"terminal slack"`, with commas or without. */
function channelsOf(text: string | null | undefined): string[] | undefined {
  return text?.split(/[\s,]+/).filter((it) => it !== "");
}

function areChannels(names: readonly string[] | undefined): names is readonly ChannelName[] {
  return names !== undefined && names.length > 0 && names.every((it) => CHANNELS.some((known) => known === it));
}
