import type { Container } from "../container/container.ts";
import { WITNESS } from "../engine/witness.ts";

type Argv = readonly [string, ...string[]];

/** What sandboxes are asked for first; the gateway itself begins with the attestation. */
const FIRST: readonly Argv[] = [
  WITNESS,
  ["true"],
  ["sh", "-c", ":"],
  ["bash", "-c", ":"],
  ["python3", "-c", "pass"],
  ["node", "-e", "0"],
  ["git", "--version"],
  ["rg", "--version"],
];

/** Runs the programs that most work begins with, once each. An image that lacks one is none the worse. */
export async function rehearse(container: Container, signal: AbortSignal): Promise<void> {
  for (const argv of FIRST) await runOnce(container, argv, signal);
}

/** Runs a program to its end, whatever that is. */
export async function runOnce(container: Container, argv: Argv, signal: AbortSignal): Promise<void> {
  const spec = { run: "rehearsal", argv, cwd: "/", env: {}, stdin: false } as const;
  const run = await container.run(spec, signal).catch(() => undefined);
  run?.stdout.resume();
  run?.stderr.resume();
  await run?.exit;
}
