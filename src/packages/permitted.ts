import { setImmediate as others } from "node:timers/promises";

/** Done in one go, in a few tens of milliseconds: what other sessions wait for comes in between. */
const AT_ONCE = 128;

/** What is made of each, in order. A registry may describe thousands of versions, and each is decided. */
export async function inTurns<Item, Result>(
  items: readonly Item[],
  make: (item: Item) => Result,
): Promise<readonly Result[]> {
  const made: Result[] = [];
  for (const [index, item] of items.entries()) {
    made.push(make(item));
    if (index % AT_ONCE === AT_ONCE - 1) await others();
  }
  return made;
}

/** Those that policy lets be seen. */
export async function permitted<Item>(items: readonly Item[], isPermitted: (item: Item) => boolean): Promise<Item[]> {
  const may = await inTurns(items, isPermitted);
  return items.filter((_, index) => may[index]);
}
