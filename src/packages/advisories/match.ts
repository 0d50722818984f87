import type { Naming } from "../../policy/ecosystems/ecosystem.ts";
import type { Advisory } from "./advisories.ts";
import type { Part, RangeEvent } from "./osv-record.ts";

/** What one advisory says of one package. */
export interface Concern {
  readonly advisory: Advisory;
  readonly parts: readonly Part[];
}

/** Debian's own releases in a version: `1.2-3+deb12u1` was made for 12. */
const DEBIAN_RELEASE = /[+~]deb(\d+)u\d+/;
/** Below every version. */
const BEGINNING = -1;
/** Where events are at one version: what is fixed there and introduced there again is affected. */
const ORDER = { fixed: 0, introduced: 1, last_affected: 2, limit: 3 } as const;

/**
 * Which of a package's advisories are about a version, by OSV's own rules ("evaluation of affected versions"). All versions that are
 * named anywhere are put in order once; after that a version is compared with numbers only. A range with a version that can't be read
 * is every version.
 */
export function matchConcerns(naming: Naming, concerns: readonly Concern[]): (version: string) => readonly Advisory[] {
  const scale = scaleOf(naming, concerns.flatMap((it) => it.parts).flatMap(textsOf));
  const placed = concerns.map(({ advisory, parts }) => ({ advisory, parts: parts.map((it) => placePart(it, scale)) }));
  return (version) => {
    const places = spellingsOf(naming, version).map(scale.place);
    const release = DEBIAN_RELEASE.exec(version)?.[1];
    const concerned = placed.filter(({ parts }) => {
      // Where a record knows the release, the other releases' versions say nothing about this one.
      const own = parts.filter((it) => it.release !== undefined && it.release === release);
      return (own.length > 0 ? own : parts).some((it) => places.some(it.has));
    });
    return concerned.map((it) => it.advisory);
  };
}

/** What is said of a version holds for its local builds too, where an ecosystem has such: `2.0.0+cu118` is a build of `2.0.0` (PEP 440). */
function spellingsOf({ ecosystem }: Naming, version: string): readonly string[] {
  return ecosystem === "pip" && version.includes("+") ? [version, version.replace(/\+.*$/, "")] : [version];
}

interface Scale {
  /** The place of a version that has been read: whole for a version of the scale, and between two of them otherwise. */
  place(version: string): number;
  /** As a record writes it; `undefined` for what is no version. */
  find(text: string): number | undefined;
}

function scaleOf(naming: Naming, texts: readonly string[]): Scale {
  const read = new Map([...new Set(texts)].map((it) => [it, readLoosely(naming, it)]));
  const versions = [...new Set([...read.values()].filter((it) => it !== undefined))].sort(naming.compare);
  const steps: string[] = [];
  for (const it of versions) {
    const last = steps.at(-1);
    if (last === undefined || naming.compare(last, it) !== 0) steps.push(it);
  }
  const place = (version: string) => {
    let [low, high] = [0, steps.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (naming.compare(steps[middle] ?? "", version) < 0) low = middle + 1;
      else high = middle;
    }
    const step = steps[low];
    return step !== undefined && naming.compare(step, version) === 0 ? low : low - 0.5;
  };
  const places = new Map([...read].map(([text, it]) => [text, it === undefined ? undefined : place(it)]));
  return { place, find: (text) => places.get(text) };
}

/** Records write Go's versions without `v`, npm's with build metadata (which has no order), and Debian's with an epoch of 0. */
function readLoosely(naming: Naming, text: string): string | undefined {
  for (const it of [text, `v${text}`, text.replace(/\+.*$/, ""), text.replace(/^0:/, "")]) {
    const version = naming.readVersion(it);
    if (version !== undefined) return version;
  }
  return undefined;
}

function textsOf({ versions, ranges }: Part): readonly string[] {
  return [...versions, ...ranges.flat().map(([, version]) => version)];
}

interface PlacedPart {
  readonly release: string | undefined;
  has(place: number): boolean;
}

function placePart({ release, versions, ranges, all }: Part, scale: Scale): PlacedPart {
  const listed = new Set(versions.map(scale.find).filter((it) => it !== undefined));
  const tests = ranges.map((it) => placeRange(it, scale));
  return { release, has: (at) => all || listed.has(at) || tests.some((lies) => lies(at)) };
}

function placeRange(events: readonly RangeEvent[], scale: Scale): (place: number) => boolean {
  const placed: { kind: RangeEvent[0]; at: number }[] = [];
  for (const [kind, text] of events) {
    const at = placeOf(kind, text, scale);
    if (at === undefined) return () => true;
    placed.push({ kind, at });
  }
  const limits = placed.filter((it) => it.kind === "limit").map((it) => it.at);
  placed.sort((a, b) => a.at - b.at || ORDER[a.kind] - ORDER[b.kind]);
  return (place) => {
    if (limits.length > 0 && !limits.some((it) => place < it)) return false;
    let lies = false;
    for (const { kind, at } of placed) {
      if (kind === "introduced" && place >= at) lies = true;
      else if (kind === "fixed" && place >= at) lies = false;
      else if (kind === "last_affected" && place > at) lies = false;
    }
    return lies;
  };
}

function placeOf(kind: RangeEvent[0], text: string, scale: Scale): number | undefined {
  if (kind === "introduced" && text === "0") return BEGINNING;
  if (kind === "limit" && text === "*") return Number.POSITIVE_INFINITY;
  return scale.find(text);
}
