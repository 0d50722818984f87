import type { Command } from "commander";
import { vi } from "vitest";

export interface Printed {
  readonly status: number | string | null | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a command in this process, where it costs no start of a program; what it prints and its exit code are kept. */
export async function runCommand(command: Command, args: readonly string[]): Promise<Printed> {
  const printed = { stdout: "", stderr: "" };
  const keep = (stream: "stdout" | "stderr") => (text: unknown) => {
    printed[stream] += String(text);
    return true;
  };
  using _log = vi.spyOn(console, "log").mockImplementation((text) => void keep("stdout")(`${text}\n`));
  using _error = vi.spyOn(console, "error").mockImplementation((text) => void keep("stderr")(`${text}\n`));
  using _stdout = vi.spyOn(process.stdout, "write").mockImplementation(keep("stdout"));
  using _stderr = vi.spyOn(process.stderr, "write").mockImplementation(keep("stderr"));
  using exit = vi.spyOn(process, "exit").mockImplementation(() => {
    throw new Error("exit");
  });
  const before = process.exitCode;
  try {
    await command.parseAsync(args, { from: "user" });
    return { status: process.exitCode, ...printed };
  } catch (error) {
    if (exit.mock.calls.length === 0) throw error;
    return { status: exit.mock.calls[0]?.[0], ...printed };
  } finally {
    process.exitCode = before;
  }
}
