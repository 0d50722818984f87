import { availableParallelism } from "node:os";
import { defineConfig } from "vitest/config";
import LongestFirst from "./test/support/longest-first.ts";

/**
 * Files that ask one machine after the other thing and wait for its answer, which keeps one core busy, and files that have no machine: two
 * of them take little more than the time of one. Not for what boots machines again and again, ends things at certain moments, or has little
 * time.
 */
const PAIRS = [
  "test/contract/container-by-*.test.ts",
  "test/contract/{egress,egress-secrets,image,inspection,snapshot}.test.ts",
  "test/e2e/{bad-input,clients,deaf-client,failure,governance,inspection,many,mounts,network,preview,session,skill-cli,skills,skills-shipped,snapshots}.test.ts",
  "test/hostile/{disk-full,egress,egress-flow,inside,mounts,overlay,paths,runner,snapshots}.test.ts",
  "test/{contract,e2e,hostile}/package*.test.ts",
];

/** Files that have no machine, and wait for servers and processes of their own more than they compute. */
const SERVERS = ["test/contract/{sink,store}-*.test.ts", "test/contract/audit-*.test.ts"];

/** Only against what hangs: where machines are emulated a program takes ten times as long to begin, and on a busy computer thirty times. */
const HANGING_MS = 300_000;

// One group of files after the other, so that nothing slows what is timed.
export default defineConfig({
  test: {
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
          include: ["test/unit/**/*.test.ts", ...SERVERS],
          // One more than there are cores: some of them wait.
          maxWorkers: availableParallelism() + 1,
          sequence: { groupOrder: 1 },
        },
      },
      {
        extends: true,
        test: {
          name: "pairs",
          include: PAIRS,
          maxWorkers: 2,
          sequence: { groupOrder: 2 },
        },
      },
      {
        extends: true,
        test: {
          name: "machines",
          include: ["test/{contract,e2e,hostile}/**/*.test.ts"],
          exclude: [...PAIRS, ...SERVERS],
          // Machines and engines share two cores: one file at a time keeps boots inside their deadlines.
          maxWorkers: 1,
          sequence: { groupOrder: 3 },
        },
      },
    ],
    sequence: { sequencer: LongestFirst },
    pool: "forks",
    testTimeout: HANGING_MS,
    hookTimeout: HANGING_MS,
    // What comes about comes late on a busy computer; a second is the default.
    expect: { poll: { timeout: 60_000 } },
    reporters: ["default", "./test/support/summary-reporter.ts"],
  },
});
