import { expect, onTestFinished, test, vi } from "vitest";
import { parseMoment } from "../../src/cli/moment.ts";
import { csvText } from "../../src/lib/csv.ts";

test.each(["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "\nx", " =1", "\n=1", "＝1"])(
  "%j is no formula in a spreadsheet",
  (text) => {
    const cell = csvText([[text]]);
    expect(cell).toMatch(/^"?'/);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: none of them may be there
    expect(cell.slice(0, -2)).not.toMatch(/[\u0000-\u0008\u000b-\u001f]/);
  },
);

test("rows are as RFC 4180 has them: quotes doubled, lines ended by CRLF, numbers and nothing as they are", () => {
  expect(csvText([["a,b", 'say "x"', "two\nlines", -1, undefined, "plain"]])).toBe(
    '"a,b","say ""x""","two\nlines",-1,,plain\r\n',
  );
  expect(csvText([["x".repeat(40_000)]]).length).toBeLessThan(32_767);
});

test("a moment is a date, a time, or how long ago", () => {
  const now = Date.UTC(2026, 10, 21, 12);
  vi.useFakeTimers({ now, toFake: ["Date"] });
  onTestFinished(() => void vi.useRealTimers());
  expect(parseMoment("2026-11-20")).toBe(Date.UTC(2026, 10, 20));
  expect(parseMoment("2026-11-20T10:00Z")).toBe(Date.UTC(2026, 10, 20, 10));
  expect(parseMoment("2026-11-20T10:00:30+02:00")).toBe(Date.UTC(2026, 10, 20, 8, 0, 30));
  expect([parseMoment("30m"), parseMoment("2h"), parseMoment("7d")]).toEqual([
    now - 1_800_000,
    now - 7_200_000,
    now - 604_800_000,
  ]);
  for (const text of ["", "yesterday", "2026-13-01", "7", "d", "-2h", "9999999d", "2026-11-20 10:00"]) {
    expect(() => parseMoment(text)).toThrow(/give a date/);
  }
});
