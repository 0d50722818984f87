import { randomBytes } from "node:crypto";
import { closeSync, openSync, readdirSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { connect, machinePids, type TestData, testData } from "../support/gateway.ts";

function overlays({ directory }: TestData): string[] {
  const gateways = join(directory, "state", "gateways");
  return readdirSync(gateways)
    .flatMap((it) =>
      readdirSync(join(gateways, it, "machines")).map((machine) => join(gateways, it, "machines", machine)),
    )
    .sort((a, b) => statSync(a).birthtimeMs - statSync(b).birthtimeMs)
    .map((it) => join(it, "data.qcow2"));
}

test("a disk that is destroyed under a running sandbox is its errors or its end; the neighbour and the gateway go on [G14]", async () => {
  using data = testData();
  await using agent = await connect(data, ["--spares", "0"]);
  await agent.call("writeFile", { path: "/workspace/a", content: "x".repeat(3_000_000) });
  const { sessionId } = (await agent.call("openSession", {})).result;
  await agent.call("writeFile", { path: "/workspace/a", content: "whole", sessionId });

  const [victim] = overlays(data);
  const file = openSync(String(victim), "r+");
  for (let at = 0; at < statSync(String(victim)).size; at += 65_536)
    writeSync(file, randomBytes(65_536), 0, 65_536, at);
  closeSync(file);

  const lines = [
    "import os",
    "for n in range(200): open(f'/workspace/{n}', 'wb').write(os.urandom(100000))",
    "os.sync()",
  ];
  const used = await agent.call("exec", { argv: ["python3", "-c", lines.join("\n")], timeoutMs: 60_000 });
  // Whatever the guest makes of it: an answer, with one of the ways to end.
  expect(used.isError ? used.text : used.result.endedBy).toMatch(
    /^(MACHINE_LOST|CONTAINER_FAILED|exit|signal|timeout)/,
  );
  const whole = await agent.call("readFile", { path: "/workspace/a", sessionId });
  expect(whole.result?.content, whole.text).toBe("whole");
  const afresh = await agent.call("resetSession");
  expect(afresh.isError, afresh.text).toBe(false);
  expect((await agent.call("exec", { argv: ["echo", "works"] })).result.stdout).toBe("works\n");
  expect(machinePids(data)).toHaveLength(2);
});
