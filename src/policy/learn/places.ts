import { pathAncestors } from "../facts.ts";
import { entity } from "./quote.ts";
import { FEW, unique } from "./rule.ts";

/** What belongs to an agent. Nothing outside of it is permitted by its directory, and nothing at all by `/`. */
const OWN = ["/workspace", "/tmp", "/home/agent"];

/** Paths that are permitted each by itself, and directories with what lies below them. */
interface Places {
  readonly exact: readonly string[];
  readonly below: readonly string[];
}

/** The condition under which a path is one of those that were seen, or lies where they do. */
export function placeCondition(subject: string, { exact, below }: Places): string {
  const tests = [
    ...exact.map((it) => `${subject} == ${entity("Path", it)}`),
    ...below.map((it) => `${subject} in ${entity("Path", it)}`),
  ];
  return tests.length === 1 ? tests.join("") : `(\n    ${tests.join(" ||\n    ")}\n  )`;
}

/** Working directories: themselves, while they are few. */
export function workingPlaces(directories: readonly string[]): Places {
  const all = unique(directories);
  return all.length <= FEW ? { exact: all, below: [] } : directoryPlaces(all);
}

/** Files by the directories that they lie in. */
export function filePlaces(files: readonly string[]): Places {
  return placesOf(files, (it) => pathAncestors(it)[0] ?? it);
}

/** Directories with what lies below them. */
export function directoryPlaces(directories: readonly string[]): Places {
  return placesOf(directories, (it) => it);
}

/**
 * One of an agent's own places as a whole is permitted only when more than a few different paths of it were seen; what lies directly in it
 * is permitted by itself until then.
 */
function placesOf(paths: readonly string[], directoryOf: (path: string) => string): Places {
  const exact: string[] = [];
  const below: string[] = [];
  for (const own of [...OWN, undefined]) {
    const here = unique(paths).filter((it) => OWN.find((place) => isWithin(it, place)) === own);
    if (own === undefined) {
      exact.push(...here);
      continue;
    }
    const directly = here.filter((it) => directoryOf(it) === own || it === own);
    const deeper = outermost(here.filter((it) => !directly.includes(it)).map(directoryOf));
    const directories = deeper.length > FEW ? [common(deeper)] : deeper;
    if (directly.length > FEW || directories.includes(own)) below.push(own);
    else {
      exact.push(...directly);
      below.push(...directories);
    }
  }
  return { exact, below };
}

function isWithin(path: string, directory: string): boolean {
  return path === directory || path.startsWith(`${directory}/`);
}

/** Without those that lie in another one. */
function outermost(directories: readonly string[]): string[] {
  const all = unique(directories);
  return all.filter((it) => !all.some((other) => other !== it && isWithin(it, other)));
}

function common(directories: readonly string[]): string {
  const [first = "/", ...others] = directories;
  return [first, ...pathAncestors(first)].find((it) => others.every((other) => isWithin(other, it))) ?? "/";
}
