import fc from "fast-check";
import { expect, test } from "vitest";
import { createQmp, type QmpEvent } from "../../src/engine/qemu/qmp.ts";
import { socketPair } from "../support/socket-pair.ts";

const forever = new AbortController().signal;
const GREETING = '{"QMP":{"version":{"qemu":{"major":7}},"capabilities":[]}}\r\n';

test("a command is answered, events are told apart, unknown fields let through", async () => {
  await using pair = await socketPair();
  const events: QmpEvent[] = [];
  const qmp = createQmp(pair.near, (event) => events.push(event));
  pair.far.once("data", (chunk) => {
    expect(JSON.parse(String(chunk))).toEqual({ execute: "qmp_capabilities", id: 1 });
    pair.far.write(
      '{"event":"SHUTDOWN","data":{"guest":true,"reason":"guest-panic"},"timestamp":{"seconds":1}}\r\n{"ret',
    );
    pair.far.write('urn":{},"id":1,"new":true}\r\n');
  });
  pair.far.write(GREETING);
  expect(await qmp.execute("qmp_capabilities", forever)).toEqual({});
  expect(events).toMatchObject([{ name: "SHUTDOWN", data: { reason: "guest-panic" } }]);
});

test("an error answer rejects its command only", async () => {
  await using pair = await socketPair();
  const qmp = createQmp(pair.near, () => undefined);
  pair.far.once("data", () =>
    pair.far.write('{"error":{"class":"GenericError","desc":"no"},"id":1}\n{"return":5,"id":2}\n'),
  );
  const [first, second] = await Promise.allSettled([qmp.execute("a", forever), qmp.execute("b", forever)]);
  expect(first).toMatchObject({ status: "rejected", reason: { code: "BOOT_FAILED" } });
  expect(second).toMatchObject({ status: "fulfilled", value: 5 });
});

test("an answer that comes after its caller gave up is no fault", async () => {
  await using pair = await socketPair();
  const qmp = createQmp(pair.near, () => undefined);
  const controller = new AbortController();
  const first = qmp.execute("a", controller.signal);
  controller.abort("enough");
  await expect(first).rejects.toBe("enough");
  pair.far.write('{"return":1,"id":1}\n');
  const second = qmp.execute("b", forever);
  pair.far.write('{"return":2,"id":2}\n');
  expect(await second).toBe(2);
});

test("what is not QMP, or too long, or ends, fails every command", async () => {
  const endings = ["nonsense\n", '{"return":1,"id":9}\n', "[]\n", "x".repeat(70_000), '{"event":5}\n', ""];
  for (const ending of endings) {
    await using pair = await socketPair();
    const qmp = createQmp(pair.near, () => undefined);
    const answer = qmp.execute("a", forever);
    if (ending) pair.far.write(ending);
    else pair.far.destroy();
    await expect(answer, ending.slice(0, 20)).rejects.toMatchObject({ code: "BOOT_FAILED" });
    await expect(qmp.execute("b", forever)).rejects.toMatchObject({ code: "BOOT_FAILED" });
  }
});

test("no bytes crash the client", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uint8Array({ maxLength: 200 }), async (bytes) => {
      await using pair = await socketPair();
      const qmp = createQmp(pair.near, () => undefined);
      const answer = qmp.execute("a", forever);
      pair.far.end(Buffer.from(bytes));
      await expect(answer).rejects.toMatchObject({ code: "BOOT_FAILED" });
    }),
    { numRuns: 100 },
  );
});
