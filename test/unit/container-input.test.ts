import { PassThrough } from "node:stream";
import { expect, test } from "vitest";
import { inputOf } from "../../src/container/input.ts";

const spec = { run: "r", argv: ["x"] as const, cwd: "/", env: {}, stdin: true };
const terminal = { columns: 80, rows: 24 };

/** What reaches the program's connection when these pieces are written and the input is ended, and whether the connection ends. */
async function given(pieces: readonly string[], more: object = {}): Promise<[bytes: string, ended: boolean]> {
  const connection = new PassThrough();
  const stdin = inputOf({ ...spec, ...more }, connection);
  for (const piece of pieces) stdin.write(piece);
  await new Promise<void>((resolve) => stdin.end(resolve));
  return [connection.read()?.toString() ?? "", connection.writableEnded];
}

test("the end of a pipe is the end of its connection", async () => {
  expect(await given(["a", "b"])).toEqual(["ab", true]);
});

test.each([
  [[], "\x04"],
  [["ls\n"], "ls\n\x04"],
  [["ls\r"], "ls\r\x04"],
  [["ls\n", "x"], "ls\nx\x04\x04"],
  [["ls", "\n"], "ls\n\x04"],
  [["x", ""], "x\x04\x04"],
  [["\x03"], "\x03\x04\x04"],
])("the end of a terminal's input is typed: after %j, and the connection stays", async (pieces, bytes) => {
  expect(await given(pieces, { terminal })).toEqual([bytes, false]);
});

test("input ends with its connection, and what is written then is no failure of the gateway's", async () => {
  const connection = new PassThrough();
  const stdin = inputOf({ ...spec, terminal }, connection);
  connection.destroy();
  await expect.poll(() => stdin.destroyed).toBe(true);
  await new Promise<void>((resolve) => stdin.write("x", () => resolve()));
  expect(stdin.writable).toBe(false);
});
