import { createSessionAuthority } from "../../src/egress/session-authority.ts";
import { openHttpsReceiver, SPEECH } from "../support/https-receiver.ts";
import { sinkSuite } from "./sink-suite.ts";

process.env["GLOVEBOX_TEST_TOKEN"] = "a-token-of-the-test";
const token = { env: "GLOVEBOX_TEST_TOKEN" };
const SHAPES = {
  splunk: { splunk: {}, token },
  elasticsearch: { elasticsearch: { index: "glovebox" }, token },
} as const;

for (const [shape, settings] of Object.entries(SHAPES)) {
  sinkSuite(`batches by HTTPS for ${shape}`, async () => {
    const authority = await createSessionAuthority();
    const receiver = await openHttpsReceiver(authority, SPEECH[shape as keyof typeof SHAPES]);
    const url = `https://localhost:${receiver.port}/`;
    return {
      ...receiver,
      settings: { name: "central", type: "https", url, ...settings },
      authorities: [authority.certificate],
    };
  });
}
