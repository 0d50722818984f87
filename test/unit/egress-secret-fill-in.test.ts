import { expect, onTestFinished, test, vi } from "vitest";
import { fillIn, type Wallet } from "../../src/egress/fill-in.ts";
import { createMask } from "../../src/egress/mask.ts";
import { mintPlaceholders } from "../../src/egress/placeholders.ts";
import type { RequestHead } from "../../src/egress/secret-binding.ts";
import { createSecrets } from "../../src/egress/secret-cache.ts";
import { secretsSchema } from "../../src/policy/secret.ts";

const never = new AbortController().signal;
const api = { host: "api.example.com", port: 443 };
const get = (over: Partial<RequestHead>): RequestHead => ({ method: "GET", path: "/v1/x", headers: [], ...over });

/** A session with two secrets in the gateway's environment, of which one is for `/v1` and in its own header only. */
function session() {
  onTestFinished(() => void vi.unstubAllEnvs());
  vi.stubEnv("TEST_TOKEN", "value-of-token");
  vi.stubEnv("TEST_KEY", "value-of-key");
  const secrets = secretsSchema.parse([
    { name: "TOKEN", source: { env: "TEST_TOKEN" }, hosts: [{ host: "*.example.com" }] },
    {
      name: "KEY",
      source: { env: "TEST_KEY" },
      hosts: [{ host: "api.example.com", paths: ["/v1"] }],
      present: { as: "header", name: "x-key" },
    },
  ]);
  const placeholders = mintPlaceholders(secrets);
  const values = createSecrets(secrets, { signal: never, onFailure: () => undefined });
  const wallet: Wallet = { secrets, placeholders, values };
  return { wallet, values, token: placeholders.get("TOKEN") ?? "", key: placeholders.get("KEY") ?? "" };
}

test("every placeholder is replaced, and an echo of the values is masked", async () => {
  const { wallet, values, token, key } = session();
  const headers = [["authorization", `Bearer ${token}`] as const, ["x-key", key] as const];
  const filled = await fillIn(get({ headers }), api, wallet, never);
  expect(filled).toEqual({
    kind: "filled",
    used: ["TOKEN", "KEY"],
    request: get({
      headers: [
        ["authorization", "Bearer value-of-token"],
        ["x-key", "value-of-key"],
      ],
    }),
  });
  const echo = createMask(values.values()).text(JSON.stringify(filled));
  expect(echo).not.toMatch(/value-of/);
  expect(echo).toContain(`"Bearer ${"*".repeat(14)}"`);
});

test("a request without placeholders goes as it is, anywhere, and no value is read", async () => {
  const { wallet, values } = session();
  const request = get({ headers: [["authorization", "Bearer own"]] });
  expect(await fillIn(request, { host: "other.org", port: 80 }, wallet, never)).toEqual({
    kind: "filled",
    request,
    used: [],
  });
  expect(values.values()).toEqual([]);
});

test("a placeholder that must not go there stops the request before any value is read", async () => {
  const { wallet, values, token, key } = session();
  const both = (path: string) =>
    get({
      path,
      headers: [
        ["authorization", `Bearer ${token}`],
        ["x-key", key],
      ],
    });
  expect(await fillIn(both("/v2/x?q"), api, wallet, never)).toEqual({
    kind: "refused",
    reason: "the secret KEY is not bound to GET api.example.com:443/v2/x",
  });
  expect(await fillIn(both("/v1"), { host: "other.org", port: 443 }, wallet, never)).toEqual({
    kind: "refused",
    reason: "the secret TOKEN is not bound to GET other.org:443/v1",
  });
  const foreign = mintPlaceholders([{ name: "TOKEN" }]).get("TOKEN") ?? "";
  const basic = `Basic ${Buffer.from(`${token}:${foreign}`).toString("base64")}`;
  expect(await fillIn(get({ headers: [["authorization", basic]] }), api, wallet, never)).toEqual({
    kind: "refused",
    reason: "it holds a placeholder that is not of this session",
  });
  expect(values.values()).toEqual([]);
});

test("one in a place where it must not stand stops it as well", async () => {
  const { wallet, key } = session();
  expect(await fillIn(get({ headers: [["authorization", `Bearer ${key}`]] }), api, wallet, never)).toEqual({
    kind: "refused",
    reason: "the placeholder of KEY is in the header authorization; it belongs into the header x-key",
  });
});

test("a secret that cannot be had refuses the request", async () => {
  const { wallet, token } = session();
  vi.stubEnv("TEST_TOKEN", undefined);
  await expect(fillIn(get({ path: `/${token}` }), api, wallet, never)).rejects.toMatchObject({
    code: "SECRET_UNAVAILABLE",
  });
});
