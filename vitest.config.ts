import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";

/**
 * Files that ask one machine after the other thing and wait for its answer, which keeps one core busy, and files that have no machine: two
 * of them take the time of one. Not for what boots machines again and again or has little time.
 */
const PAIRS = [
  "test/contract/container-by-*.test.ts",
  "test/contract/image.test.ts",
  "test/{contract,e2e,hostile}/package*.test.ts",
];

// One group of files after the other, so that nothing slows what is timed.
export default defineConfig({
  test: {
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
          include: ["test/unit/**/*.test.ts"],
          maxWorkers: availableParallelism(),
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: { name: "pairs", include: PAIRS, maxWorkers: 2, sequence: { groupOrder: 2 } },
      },
      {
        extends: true,
        test: {
          name: "machines",
          include: ["test/{contract,e2e,hostile}/**/*.test.ts"],
          exclude: PAIRS,
          // Machines and engines share two cores: one file at a time keeps boots inside their deadlines.
          maxWorkers: 1,
          sequence: { groupOrder: 3 },
        },
      },
    ],
    pool: "forks",
    testTimeout: 30_000,
    hookTimeout: 180_000,
    reporters: ["default", "./test/support/summary-reporter.ts"],
  },
});
