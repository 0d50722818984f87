import { expect, test } from "vitest";
import { createFinder } from "../../src/skill/find/finder.ts";
import { shippedCapabilities } from "../support/shipped-skills.ts";
import { NO_REQUESTS, REQUESTS } from "../support/skill-requests.ts";

const MIN_FIRST = 0.9;
const MIN_IN_THREE = 0.98;

const candidates = await shippedCapabilities();
const find = createFinder(candidates);

const examples = new Set(candidates.flatMap((it) => it.capability.examples));
/** Those that the finder was not told: of what is two words long (`git log`) some are examples. */
const UNTOLD = REQUESTS.filter(([request]) => !examples.has(request));

/** Which of the found is meant, from 0; -1 where none is. */
const placeOf = (request: string, id: string) => find(request).findIndex((it) => it.id === id);

/** For who reads the report: what was missed, and what was found instead. */
function missed(most: number): readonly string[] {
  const misses = UNTOLD.filter(([request, id]) => {
    const place = placeOf(request, id);
    return place < 0 || place >= most;
  });
  return misses.map(([request, id]) => {
    const found = find(request).map((it) => `${it.id} ${it.score}`);
    return `${request} -> ${id}, found ${found.join(", ") || "nothing"}`;
  });
}

test("the tables are as large as they claim to be, have each skill, and nothing twice", () => {
  expect(UNTOLD.length).toBeGreaterThanOrEqual(90);
  expect(NO_REQUESTS.length).toBeGreaterThanOrEqual(35);
  const requests = [...REQUESTS.map(([request]) => request), ...NO_REQUESTS];
  expect(new Set(requests).size).toBe(requests.length);
  expect(new Set(REQUESTS.map(([, id]) => id))).toEqual(new Set(candidates.map((it) => it.id)));
});

test(`what is meant is first for ${MIN_FIRST * 100} % of the requests`, () => {
  const misses = missed(1);
  if (misses.length > 0) console.log(misses.join("\n"));
  expect(1 - misses.length / UNTOLD.length).toBeGreaterThanOrEqual(MIN_FIRST);
});

test(`what is meant is among the first three for ${MIN_IN_THREE * 100} %`, () => {
  const misses = missed(3);
  if (misses.length > 0) console.log(misses.join("\n"));
  expect(1 - misses.length / UNTOLD.length).toBeGreaterThanOrEqual(MIN_IN_THREE);
});

test.each(REQUESTS.flatMap(([request, id, args]) => (args ? [{ request, id, args }] : [])))(
  "$request: the arguments that the words determine, and no others",
  ({ request, id, args }) => {
    const found = find(request).find((it) => it.id === id);
    expect(found?.arguments).toEqual(args);
    const { parameters } = candidates.find((it) => it.id === id)?.capability ?? { parameters: [] };
    const missing = parameters.filter((it) => it.required && !Object.hasOwn(args, it.name)).map((it) => it.name);
    expect(found?.missing).toEqual(missing);
  },
);

test.each(NO_REQUESTS)("%s: nothing does that", (request) => {
  expect(find(request)).toEqual([]);
});

test("each skill is found when it is the only one", () => {
  const misses = [...new Set(candidates.map((it) => it.skill))].flatMap((skill) => {
    const alone = createFinder(candidates.filter((it) => it.skill === skill));
    const own = REQUESTS.filter(([, id]) => id.startsWith(`${skill}_`));
    return own.filter(([request, id]) => alone(request)[0]?.id !== id).map(([request]) => request);
  });
  if (misses.length > 0) console.log(misses.join("\n"));
  expect(1 - misses.length / REQUESTS.length).toBeGreaterThanOrEqual(MIN_FIRST);
});
