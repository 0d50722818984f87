import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { GatewayError } from "../../errors.ts";
import type { Qmp } from "./qmp.ts";

const POLL_MS = 3;
const status = z.looseObject({ status: z.string().default("none"), "error-desc": z.string().optional() });

/** The memory is a file that both ends map, so only the devices' state travels. */
export const SHARED_MEMORY_STAYS = { capabilities: [{ capability: "x-ignore-shared", state: true }] };

/** Resolves when the state has been written, or read, as a whole. @throws GatewayError BOOT_FAILED */
export async function awaitMigration(qmp: Qmp, signal: AbortSignal): Promise<void> {
  for (;;) {
    const answer = status.parse(await qmp.execute("query-migrate", signal));
    if (answer.status === "completed") return;
    if (answer.status === "failed" || answer.status === "cancelled") {
      throw new GatewayError("BOOT_FAILED", "QEMU did not take the saved state.", { cause: answer["error-desc"] });
    }
    await sleep(POLL_MS, undefined, { signal });
  }
}
