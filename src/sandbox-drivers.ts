import { agentContainer } from "./container/agent-container.ts";
import { hardenedOptions } from "./container/hardening.ts";
import type { Authorities } from "./egress/authorities.ts";
import { attest, readHostBootId } from "./engine/attest.ts";
import type { Engine } from "./engine/engine.ts";
import type { ImageStore } from "./image/store.ts";
import { inspectSandbox } from "./inspect-sandbox.ts";
import type { Ledger } from "./session/ledger.ts";
import type { SandboxPorts } from "./session/sandbox.ts";

export interface DriverPorts {
  readonly ledger: Ledger;
  readonly engine: Engine;
  readonly images: ImageStore;
  /** Whose certificates are accepted. */
  readonly readOnce: () => Promise<Authorities>;
}

/** What a gateway's sandboxes are made with. */
export async function sandboxDrivers(ports: DriverPorts): Promise<Omit<SandboxPorts, "domain">> {
  const { ledger, engine, images, readOnce } = ports;
  const hostBootId = await readHostBootId();
  /** Of every machine that was booted for a session: no two sessions may ever share a kernel. */
  const bootIds = new Set<string>();
  return {
    ledger,
    engine,
    findImage: (image) => images.find(image),
    containerShape: async (spec) => JSON.stringify([hardenedOptions(spec), (await readOnce()).digest]),
    // Loaded when a machine is to be prepared: dockerode is the largest dependency, and clients wait for `initialize`.
    startContainer: async (spec, machine, signal) => {
      const { all, extra } = await readOnce();
      const known = { all: all.join(""), extra: extra.join("") };
      await machine.trust({ known, own: "" }, signal);
      return await (await import("./container/docker.ts")).startContainer(spec, machine, signal);
    },
    adoptContainer: agentContainer,
    inspect: inspectSandbox,
    attest: async (sandbox, signal) => {
      // Copies have the boot id of what they were copied from; what tells them apart is the name that each was given.
      const booted = sandbox.machine.facts.start === "cold";
      const otherBootIds = booted ? bootIds : new Set<string>();
      const attestation = await attest({ ...sandbox, hostBootId, otherBootIds, signal });
      if (booted) bootIds.add(attestation.bootId);
      return attestation;
    },
  };
}
