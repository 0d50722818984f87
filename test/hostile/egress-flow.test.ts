import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { SessionAuthority } from "../../src/egress/session-authority.ts";
import type { TestSandbox } from "../contract/container-suite.ts";
import {
  type Answer,
  attachEgress,
  createSessionAuthority,
  type Origin,
  openOrigin,
  openTrustingSandbox,
  script,
} from "../support/egress.ts";

const MIB = 2 ** 20;
/** In each direction; `GLOVEBOX_FLOW_MIB=2048` moves what a large image weighs, and shows that memory has a bound. */
const FLOW_MIB = Number(process.env["GLOVEBOX_FLOW_MIB"] ?? 16);
const HELD_MIB = 160;
const LONG_MS = 60_000 + FLOW_MIB * 1_500;

let sandbox: TestSandbox;
let authority: SessionAuthority;
let plain: Origin;
let secure: Origin;
/** What the servers have handed to their sockets, and whether somebody broke off. */
const served = { bytes: 0, brokenOff: 0 };

const answer: Answer = (request, response) => {
  if (request.method === "PUT") {
    let length = 0;
    request.on("data", (chunk: Buffer) => {
      length += chunk.length;
    });
    request.on("end", () => response.end(`took ${length}`));
    return;
  }
  const total = request.url === "/endless" ? Infinity : FLOW_MIB * MIB;
  const chunk = Buffer.alloc(64 * 1024, "x");
  let sent = 0;
  response.on("close", () => {
    if (sent < total) served.brokenOff += 1;
  });
  const more = () => {
    while (sent < total) {
      sent += chunk.length;
      served.bytes += chunk.length;
      if (!response.write(chunk)) return;
    }
    response.end();
  };
  response.on("drain", more);
  more();
};

beforeAll(async () => {
  authority = await createSessionAuthority();
  [plain, secure] = await Promise.all([openOrigin(answer), openOrigin(answer, authority)]);
  sandbox = await openTrustingSandbox(authority);
});
afterAll(async () => {
  await sandbox?.[Symbol.asyncDispose]();
  await plain?.[Symbol.asyncDispose]();
  await secure?.[Symbol.asyncDispose]();
});

const attach = (allow: string) =>
  attachEgress(sandbox.machine, {
    profile: `egress:\n  hosts: {api.test: 127.0.0.1}\n  private: [api.test]\n  allow: [${allow}]\n`,
    authority,
  });

/** The most that the process holds meanwhile, beyond what it holds now. Server and gateway are one process here. */
async function grownBy(work: () => Promise<void>): Promise<number> {
  const before = process.memoryUsage().rss;
  let most = before;
  const watch = setInterval(() => {
    most = Math.max(most, process.memoryUsage().rss);
  }, 50);
  try {
    await work();
  } finally {
    clearInterval(watch);
  }
  return most - before;
}

describe.each([
  ["plain HTTP", () => [`"api.test:${plain.port}"`, `http://api.test:${plain.port}`]],
  ["spliced TLS", () => [`"api.test:${secure.port}"`, `https://api.test:${secure.port}`]],
  [
    "TLS that ends at the proxy",
    () => [`{host: api.test, ports: [${secure.port}], methods: [GET, PUT]}`, `https://api.test:${secure.port}`],
  ],
])("%s", (_name, way) => {
  test(
    FLOW_MIB > HELD_MIB ? `${FLOW_MIB} MiB come and go in bounded memory` : `${FLOW_MIB} MiB come and go`,
    async () => {
      const [allow = "", url = ""] = way();
      await using _net = await attach(allow);
      const grown = await grownBy(async () => {
        const down = await script(sandbox, `curl -sS ${url}/ | wc -c`, {}, LONG_MS);
        expect(down.stdout.trim(), down.stderr).toBe(String(FLOW_MIB * MIB));
        const up = await script(sandbox, `head -c ${FLOW_MIB * MIB} /dev/zero | curl -sS -T - ${url}/up`, {}, LONG_MS);
        expect(up.stdout, up.stderr).toBe(`took ${FLOW_MIB * MIB}`);
      });
      expect(grown).toBeLessThan(HELD_MIB * MIB);
    },
    LONG_MS,
  );

  test("a reader that stops holds the server up, and one that goes away ends it", async () => {
    const [allow = "", url = ""] = way();
    await using net = await attach(allow);
    const { bytes, brokenOff } = served;
    const reading = script(sandbox, `curl -sS ${url}/endless | (head -c 1000 > /dev/null; sleep 6)`, {}, 60_000);
    await new Promise((resolve) => setTimeout(resolve, 4_000));
    const held = served.bytes;
    await new Promise((resolve) => setTimeout(resolve, 1_000));
    expect(served.bytes).toBe(held);
    expect(held - bytes).toBeLessThan(24 * MIB);
    await reading;
    await expect.poll(() => served.brokenOff).toBe(brokenOff + 1);
    await expect.poll(() => net.egress.open).toBe(0);
  });
});
