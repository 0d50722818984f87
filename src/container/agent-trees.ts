import type { Duplex } from "node:stream";
import { GatewayError } from "../errors.ts";
import { abortable, deadline } from "../lib/deadline.ts";
import { type AgentHost, agentFailure, type Conversation, converse, drained, fileMessage } from "./agent.ts";
import { type Failed, refusalOf } from "./agent-refusal.ts";
import type { Container, TreeLimits } from "./container.ts";
import { isKernelPath, stepsOf } from "./paths.ts";
import { notWritable, unseen } from "./refusals.ts";
import { entriesOf, TREE_TIMEOUT_MS, tarOf } from "./tree.ts";

/** Follows an import's archive: the guest takes one without it for broken off. */
const END_MARK = ".";

/** Whole trees by the guest agent (`guest/agent/tree.go`): one tar, under the rules of `agent-files.ts`. */
export function agentTrees(host: AgentHost): Pick<Container, "importTree" | "exportTree"> {
  return {
    async importTree(path, entries, signal) {
      signal.throwIfAborted();
      stepsOf(path);
      if (isKernelPath(path)) throw notWritable(path);
      const patience = deadline(TREE_TIMEOUT_MS, AbortSignal.any([signal, host.broken]));
      let asked: Asked | undefined;
      try {
        asked = ask(host, { act: "import", path, ...NOTHING });
        const { connection, stdout, ended } = asked.conversation;
        stdout.resume();
        await abortable(give(connection, tarOf(entries)), patience);
        asked.finish(await abortable(ended, patience));
      } catch (error) {
        throw await agentFailure(error, host, signal);
      } finally {
        asked?.conversation.connection.destroy();
      }
    },
    async *exportTree(path, limits, signal) {
      signal.throwIfAborted();
      stepsOf(path);
      if (path === "/" || isKernelPath(`${path}/`)) throw unseen(path);
      const patience = deadline(TREE_TIMEOUT_MS, AbortSignal.any([signal, host.broken]));
      let asked: Asked | undefined;
      try {
        asked = ask(host, { act: "export", path, ...limits });
        const { refusal } = asked;
        const { connection, stdout, ended } = asked.conversation;
        connection.end();
        const excess = new GatewayError("CHANNEL_VIOLATION", "the guest sent more than it was asked for");
        const explain = (error: unknown) => agentFailure(refusal() ?? error, host, signal);
        yield* entriesOf(stdout, { nameOf, limits, excess, signal: patience, explain });
        asked.finish(await abortable(ended, patience));
      } catch (error) {
        throw await agentFailure(error, host, signal);
      } finally {
        asked?.conversation.connection.destroy();
      }
    },
  };
}

const NOTHING: TreeLimits = { maxEntries: 0, maxBytes: 0, prune: [] };

interface Asked {
  readonly conversation: Conversation;
  /** What the guest said is wrong. */
  refusal(): GatewayError | undefined;
  /** Throws unless the guest has said that all is done; `problem` is how the conversation ended. */
  finish(problem: Error | undefined): void;
}

function ask(
  host: AgentHost,
  question: TreeLimits & { readonly act: "import" | "export"; readonly path: string },
): Asked {
  let failed: Failed | undefined;
  let done = false;
  const conversation = converse(host.machine, "/tree", question, fileMessage, (message) => {
    if ("failed" in message) failed = message.failed;
    else if ("done" in message) done = true;
    else throw new GatewayError("CHANNEL_VIOLATION", "the guest described a file that it was not asked about");
  });
  conversation.stderr.resume();
  const refusal = () => failed && refusalOf(failed, question.path);
  return {
    conversation,
    refusal,
    finish: (problem) => {
      const refused = refusal() ?? problem;
      if (refused) throw refused;
      if (!done) throw new GatewayError("MACHINE_LOST", "The guest broke off a transfer.");
    },
  };
}

/** Writes an archive at the guest's pace. A guest that stops reading has its reasons, and says them. */
async function give(connection: Duplex, archive: AsyncIterable<Buffer>): Promise<void> {
  for await (const piece of archive) {
    if (!connection.writable) return;
    if (!connection.write(piece)) await drained(connection);
  }
  connection.end(END_MARK);
}

function nameOf(name: string): string {
  const plain = name.endsWith("/") ? name.slice(0, -1) : name;
  return plain === "." ? "" : plain;
}
