import type { Mount } from "./mount.ts";

/**
 * Mounts that both layers have, each with what both of them let through: the deeper of the two folders if it lies in the other, the narrower
 * mode, all that either excludes.
 */
export function mergeMounts(outer: readonly Mount[], inner: readonly Mount[]) {
  const notes = inner
    .filter(({ name }) => !outer.some((it) => it.name === name))
    .map(({ name }) => `the mount ${name} does not hold: no mount is called so further out`);
  const value = outer.flatMap((mount): Mount[] => {
    const other = inner.find((it) => it.name === mount.name);
    if (!other) return [];
    const merged = mergeMount(mount, other);
    if (typeof merged !== "string") return [merged];
    notes.push(`the mount ${mount.name} does not hold: ${merged}`);
    return [];
  });
  return { value, notes };
}

/** What both let through, or why that is nothing. */
function mergeMount(a: Mount, b: Mount): Mount | string {
  const host = isBelow(a.host, b.host) ? a.host : isBelow(b.host, a.host) ? b.host : undefined;
  if (host === undefined) return `neither of \`${a.host}\` and \`${b.host}\` lies in the other`;
  const include =
    a.include.length === 0 ? b.include : b.include.length === 0 ? a.include : common(a.include, b.include);
  // INVARIANT: an empty list would let everything through.
  if (include.length === 0 && a.include.length > 0) return "the layers' `include` have no pattern in common";
  // By the text one lies in the other; a link could still lead elsewhere.
  const within = [...new Set([...(a.within ?? []), ...(b.within ?? []), a.host, b.host])]
    .filter((it) => it !== host)
    .toSorted();
  return {
    name: a.name,
    host,
    ...(within.length > 0 && { within }),
    mode: a.mode === "rw" && b.mode === "rw" ? "rw" : "ro",
    include,
    exclude: [...new Set([...a.exclude, ...b.exclude])],
    allowSensitive: common(a.allowSensitive, b.allowSensitive),
  };
}

function isBelow(path: string, folder: string): boolean {
  return path === folder || path.startsWith(`${folder}/`);
}

function common(one: readonly string[], other: readonly string[]): string[] {
  return one.filter((it) => other.includes(it));
}
