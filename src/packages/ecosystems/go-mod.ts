import type { Naming } from "../../policy/ecosystems/ecosystem.ts";

/** Versions that a module's makers took back, ends included. */
export interface Retraction {
  readonly from: string;
  readonly to: string;
}

/** `retract` directives of a go.mod (go.dev/ref/mod#go-mod-file-retract), one by one or in a block; what can't be read is passed over. */
export function readRetractions(naming: Naming, source: string): Retraction[] {
  const found: Retraction[] = [];
  let block = false;
  for (const line of source.split("\n")) {
    const words = line.replace(/\/\/.*/, "").trim();
    if (block && words === ")") block = false;
    else if (/^retract\s*\($/.test(words)) block = true;
    else {
      const given = block ? words : /^retract\s+(.+)$/.exec(words)?.[1];
      const retraction = given === undefined ? undefined : readRetraction(naming, given);
      if (retraction) found.push(retraction);
    }
  }
  return found;
}

function readRetraction(naming: Naming, text: string): Retraction | undefined {
  const [, first = text, last = first] = /^\[\s*([^\s,]+)\s*,\s*([^\s,]+)\s*\]$/.exec(text) ?? [];
  const from = naming.readVersion(first);
  const to = naming.readVersion(last);
  return from === undefined || to === undefined ? undefined : { from, to };
}
