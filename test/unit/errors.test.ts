import { expect, test } from "vitest";
import { asGatewayError, ERROR_CODES, GatewayError } from "../../src/errors.ts";

function page(): string {
  const rows = Object.entries(ERROR_CODES).map(
    ([code, { title, fix, retryable }]) =>
      `## ${code}\n\n${title}\n\nWhat to do: ${fix}\n\nThe same call may work later by itself: ${retryable ? "yes" : "no"}.\n`,
  );
  return `# Errors\n\nEvery failure of the gateway has one of these codes. A denial by policy carries \`DENIED\` and the policies that decided; a program that\nended badly is a result, not an error.\n\n${rows.join("\n")}`;
}

test("docs/errors.md lists every code as the table has it", async () => {
  await expect(page()).toMatchFileSnapshot("../../docs/errors.md");
});

test("an unexpected error tells the client nothing of itself", () => {
  const wrapped = asGatewayError(new TypeError("secret /host/path"));
  expect(wrapped.code).toBe("INTERNAL");
  expect(wrapped.message).not.toContain("secret");
  expect(wrapped.cause).toBeInstanceOf(TypeError);
  const own = new GatewayError("DISK_FULL");
  expect(asGatewayError(own)).toBe(own);
});
