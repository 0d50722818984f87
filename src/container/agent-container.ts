import { setMaxListeners } from "node:events";
import type { Machine } from "../engine/engine.ts";
import { GatewayError } from "../errors.ts";
import { agentFiles } from "./agent-files.ts";
import { startAgentRun } from "./agent-run.ts";
import { agentTrees } from "./agent-trees.ts";
import type { Container } from "./container.ts";

/**
 * The container `id`, which runs already on the machine, by way of the guest agent and the container's own first process
 * (`guest/runner`): a command costs a fork, not a round trip through the engine. Disposal ends every connection to it.
 */
export function agentContainer(id: string, machine: Machine): Container {
  const breakage = new AbortController();
  const broken = AbortSignal.any([machine.lost, breakage.signal]);
  // As many listen as programs run and files are read.
  setMaxListeners(0, broken);
  const breakWith = (reason: GatewayError) => {
    breakage.abort(reason);
    machine.condemn(reason);
  };
  const host = { machine, broken, breakWith };
  return {
    id,
    run: (spec, signal) => startAgentRun(host, spec, signal),
    ...agentFiles(host),
    ...agentTrees(host),
    [Symbol.asyncDispose]: async () => breakage.abort(new GatewayError("SESSION_CLOSED", "the sandbox is closed")),
  };
}
