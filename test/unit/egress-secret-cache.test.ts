import { expect, test } from "vitest";
import { createSecrets } from "../../src/egress/secret-cache.ts";
import { GatewayError } from "../../src/errors.ts";
import { secretsSchema } from "../../src/policy/secret.ts";

const never = new AbortController().signal;

/** Secrets with a source and a clock of the test's. */
function setUp() {
  const world = {
    nowMs: 0,
    reads: 0,
    failures: 0,
    /** What a read answers; it fails without. */
    value: "value-one" as string | undefined,
    /** Reads wait for it. */
    gate: Promise.resolve(),
  };
  const list = secretsSchema.parse([
    { name: "TOKEN", source: { env: "X" }, hosts: [{ host: "example.com" }], refreshMs: 60_000 },
  ]);
  const secrets = createSecrets(list, {
    signal: never,
    nowMs: () => world.nowMs,
    onFailure: () => {
      world.failures += 1;
    },
    read: async () => {
      world.reads += 1;
      await world.gate;
      if (world.value === undefined) throw new GatewayError("SECRET_UNAVAILABLE", "Secret TOKEN: gone.");
      return world.value;
    },
  });
  return { world, secrets, value: () => secrets.value("TOKEN", never), refresh: () => secrets.refresh("TOKEN", never) };
}

test("a value is read once, and again when it is as old as refreshMs", async () => {
  const { world, value } = setUp();
  expect(await value()).toBe("value-one");
  world.value = "value-two";
  world.nowMs = 59_999;
  expect(await value()).toBe("value-one");
  world.nowMs = 60_000;
  expect(await value()).toBe("value-two");
  expect(world.reads).toBe(2);
});

test("all who wait share one read, and one who gives up takes it from nobody", async () => {
  const { world, secrets, value } = setUp();
  const gate = Promise.withResolvers<void>();
  world.gate = gate.promise;
  const caller = new AbortController();
  const impatient = secrets.value("TOKEN", caller.signal);
  const patient = [value(), value(), secrets.refresh("TOKEN", never)];
  caller.abort(new Error("given up"));
  await expect(impatient).rejects.toThrow("given up");
  gate.resolve();
  expect(await Promise.all(patient)).toEqual(["value-one", "value-one", "value-one"]);
  expect(world.reads).toBe(1);
});

test("a refusing server has the value read again, but not again and again", async () => {
  const { world, value, refresh } = setUp();
  await value();
  world.value = "value-two";
  expect(await refresh()).toBe("value-one");
  world.nowMs = 10_000;
  expect(await refresh()).toBe("value-two");
  world.value = "value-three";
  expect(await refresh()).toBe("value-two");
  expect(world.reads).toBe(2);
});

test("when a read fails the old value serves for one more interval, then nothing does", async () => {
  const { world, value, refresh } = setUp();
  await value();
  world.value = undefined;
  world.nowMs = 60_000;
  expect(await value()).toBe("value-one");
  world.nowMs = 119_999;
  expect(await refresh()).toBe("value-one");
  expect(world.failures).toBe(2);
  world.nowMs = 120_000;
  await expect(value()).rejects.toMatchObject({ code: "SECRET_UNAVAILABLE" });
  world.value = "value-two";
  world.nowMs = 130_000;
  expect(await value()).toBe("value-two");
});

test("a source that fails is left alone for a while", async () => {
  const { world, value } = setUp();
  world.value = undefined;
  for (let i = 0; i < 5; i += 1) await expect(value()).rejects.toMatchObject({ code: "SECRET_UNAVAILABLE" });
  expect(world.reads).toBe(1);
  world.nowMs = 5_000;
  world.value = "value-one";
  expect(await value()).toBe("value-one");
});

test("what a response may hold is the value and the one before it", async () => {
  const { world, secrets, value } = setUp();
  expect(secrets.values()).toEqual([]);
  for (const [at, next] of ["value-one", "value-one", "value-two", "value-three"].entries()) {
    world.nowMs = at * 60_000;
    world.value = next;
    await value();
  }
  expect(secrets.values()).toEqual(["value-three", "value-two"]);
});

test("the end of the owner ends what is being read", async () => {
  const owner = new AbortController();
  const list = secretsSchema.parse([
    { name: "TOKEN", source: { command: ["sleep", "60"] }, hosts: [{ host: "example.com" }] },
  ]);
  const secrets = createSecrets(list, { signal: owner.signal, onFailure: () => undefined });
  const reading = secrets.value("TOKEN", never);
  owner.abort(new Error("closing"));
  await expect(reading).rejects.toThrow("closing");
  await expect(secrets.value("OTHER", never)).rejects.toMatchObject({ code: "INTERNAL" });
});
