import { createSessionAuthority } from "../../src/egress/session-authority.ts";
import { openHttpsReceiver } from "../support/https-receiver.ts";
import { sinkSuite } from "./sink-suite.ts";

sinkSuite("batches by HTTPS", async () => {
  const authority = await createSessionAuthority();
  const receiver = await openHttpsReceiver(authority);
  return {
    ...receiver,
    settings: { name: "central", type: "https", url: `https://localhost:${receiver.port}/logs` },
    authorities: [authority.certificate],
  };
});
