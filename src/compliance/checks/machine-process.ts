import type { Check } from "../check.ts";
import { eventOf, factOf, numberOf, textsOf } from "../facts.ts";
import { inspectionOf } from "./confinement.ts";

/** Devices by which a machine would reach a network or a folder of the host's without the gateway. */
const WAYS_OUT = /net|e1000|rtl8139|ne2k|pcnet|vmxnet|igb|i82|tulip|9p|vhost|usb/;

/** What the host's own kernel says: a guest has no part in it. */
export const machineProcess: Check = {
  id: "machine-process",
  of: "records",
  looksFor:
    "The host saw the machines' processes run: as another user than root, with a system-call filter, and without a device for a network or a shared folder.",
  start: (tally) => (record) => {
    const told = eventOf(record, "session-inspected");
    if (!told) return;
    const machine = factOf(inspectionOf(told.facts), "machine");
    const devices = textsOf(machine, "devices");
    const [uid, seccomp] = [numberOf(machine, "uid"), numberOf(machine, "seccompMode")];
    const sessionId = told.sessionId ?? "a session";
    const wayOut = devices?.find((it) => WAYS_OUT.test(it));
    const wrong = (text: string) => tally.contradicts("processes that are not", `${sessionId}: ${text}`);
    if (wayOut !== undefined) wrong(`its machine has ${wayOut}`);
    else if (uid === 0) wrong("its machine runs as root");
    else if (seccomp !== undefined && seccomp !== 2) wrong("its machine's process has no system-call filter");
    else if (devices === undefined || uid === undefined || seccomp === undefined) {
      tally.concerns("machines of which the host did not say");
    } else tally.finds("processes that were seen", `${sessionId}: user ${uid}, devices ${devices.join(" ")}`);
  },
};
