import fc from "fast-check";
import { expect, test } from "vitest";
import { isKernelPath, stepsOf } from "../../src/container/paths.ts";

test("every ancestor is a step, outermost first", () => {
  expect(stepsOf("/")).toEqual(["/"]);
  expect(stepsOf("/workspace")).toEqual(["/workspace"]);
  expect(stepsOf("/workspace/a b/ü\n/-rf")).toEqual([
    "/workspace",
    "/workspace/a b",
    "/workspace/a b/ü\n",
    "/workspace/a b/ü\n/-rf",
  ]);
});

test.each([
  "",
  "relative",
  "./a",
  "//a",
  "/a//b",
  "/a/",
  "/a/.",
  "/a/../b",
  "/..",
  "/a\0b",
  "/a\ud800",
  `/${"n".repeat(256)}`,
  `/${"é".repeat(128)}`,
  `${"/abcdefg".repeat(512)}`,
])("%j is refused", (path) => {
  expect(() => stepsOf(path)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENTS" }));
});

test.each(["/a/..b", "/a/...", "/a/b.", `/${"n".repeat(255)}`, "/a\\b", "/ a", "/%2e%2e"])("%j is taken", (path) => {
  expect(stepsOf(path).at(-1)).toBe(path);
});

test("whatever is taken has no part that an engine would resolve", () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom("a", ".", "..", "", "b/", "\0", "/")), (parts) => {
      const path = `/${parts.join("/")}`;
      try {
        for (const step of stepsOf(path)) expect(step.split("/").some((it) => it === "." || it === "..")).toBe(false);
      } catch (error) {
        expect(error).toMatchObject({ code: "INVALID_ARGUMENTS" });
      }
    }),
  );
});

test("what the kernel makes up is known by where it lies", () => {
  for (const path of ["/proc/self/environ", "/sys/kernel", "/dev/null", "/dev/shm/x"])
    expect(isKernelPath(path)).toBe(true);
  for (const path of ["/proc", "/process/x", "/workspace/proc/x", "/"]) expect(isKernelPath(path)).toBe(false);
});
