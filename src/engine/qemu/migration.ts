import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { GatewayError } from "../../errors.ts";
import type { Qmp } from "./qmp.ts";

const POLL_MS = 3;
const status = z.looseObject({ status: z.string().default("none"), "error-desc": z.string().optional() });

/** `devices`: the memory is a file that both ends map. `everything`: it travels with the rest. */
export type Travels = "devices" | "everything";

export async function prepareMigration(qmp: Qmp, travels: Travels, signal: AbortSignal): Promise<void> {
  const state = travels === "devices";
  await qmp.execute("migrate-set-capabilities", signal, { capabilities: [{ capability: "x-ignore-shared", state }] });
  // Bytes a second; what leaves goes to a file, and not over a network that others need.
  await qmp.execute("migrate-set-parameters", signal, { "max-bandwidth": 2 ** 36 });
}

/** Resolves when the state has been written, or read, as a whole. @throws GatewayError BOOT_FAILED */
export async function awaitMigration(qmp: Qmp, signal: AbortSignal): Promise<void> {
  for (;;) {
    const answer = status.parse(await qmp.execute("query-migrate", signal));
    if (answer.status === "completed") return;
    if (answer.status === "failed" || answer.status === "cancelled") {
      throw new GatewayError("BOOT_FAILED", "QEMU did not write or take the saved state.", {
        cause: answer["error-desc"],
      });
    }
    await sleep(POLL_MS, undefined, { signal });
  }
}

/** Resolves when nothing is being written any more. */
export async function cancelMigration(qmp: Qmp, signal: AbortSignal): Promise<void> {
  await qmp.execute("migrate_cancel", signal);
  for (;;) {
    const answer = status.parse(await qmp.execute("query-migrate", signal));
    if (["none", "completed", "failed", "cancelled"].includes(answer.status)) return;
    await sleep(POLL_MS, undefined, { signal });
  }
}
