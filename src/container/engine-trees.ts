import { posix } from "node:path";
import { Readable } from "node:stream";
import { GatewayError } from "../errors.ts";
import { deadline } from "../lib/deadline.ts";
import { printable } from "../lib/text.ts";
import type { ContainerApi } from "./api.ts";
import type { Container, TreeEntry, TreeLimits } from "./container.ts";
import { containerFailure } from "./failure.ts";
import { lookUp } from "./files.ts";
import { EngineRefusal } from "./modem.ts";
import { isKernelPath } from "./paths.ts";
import { isLink, kindName, notFound, notWritable, unseen } from "./refusals.ts";
import { entriesOf, TREE_TIMEOUT_MS, tarOf } from "./tree.ts";

/** Whole trees by the engine's archive calls, with the caveat of `files.ts`. Of a file's hard links the first is a file and the others are `other`. */
export function engineTrees(api: ContainerApi, broken: AbortSignal): Pick<Container, "importTree" | "exportTree"> {
  const patience = (signal: AbortSignal) => deadline(TREE_TIMEOUT_MS, AbortSignal.any([signal, broken]));
  return {
    async importTree(path, entries, signal) {
      try {
        signal.throwIfAborted();
        await importTree(api, path, entries, patience(signal));
      } catch (error) {
        throw await containerFailure(error, broken, signal);
      }
    },
    async *exportTree(path, limits, signal) {
      try {
        signal.throwIfAborted();
        const explain = (error: unknown) => containerFailure(error, broken, signal);
        yield* exportTree(api, path, limits, patience(signal), explain);
      } catch (error) {
        throw await containerFailure(error, broken, signal);
      }
    },
  };
}

async function importTree(api: ContainerApi, path: string, entries: AsyncIterable<TreeEntry>, signal: AbortSignal) {
  if (isKernelPath(path)) throw notWritable(path);
  const { entry, parent } = await lookUp(api, path, signal);
  if (entry?.kind === "link") throw isLink(path, entry.target ?? "", "");
  if (entry && entry.kind !== "directory") {
    throw new GatewayError("NOT_A_DIRECTORY", `\`${printable(path)}\` is a ${kindName(entry.kind)}, not a directory`);
  }
  const names = entry ? [] : posix.relative(parent, path).split("/");
  const above = names.map(
    (_name, index): TreeEntry => ({ kind: "directory", name: names.slice(0, index + 1).join("/") }),
  );
  const below = names.map((name) => `${name}/`).join("");
  let own: unknown;
  const watched = async function* () {
    try {
      yield* joined(above, below, entries);
    } catch (error) {
      own = error;
      throw error;
    }
  };
  const archive = Readable.from(tarOf(watched()), { objectMode: false });
  try {
    await api.putArchive(entry ? path : parent, archive, signal);
  } catch (error) {
    // The connection breaks for it, and tells nothing.
    if (own) throw own;
    if (error instanceof EngineRefusal && /marked read-only/i.test(error.message)) throw notWritable(path);
    throw error;
  }
}

async function* joined(above: readonly TreeEntry[], prefix: string, entries: AsyncIterable<TreeEntry>) {
  yield* above;
  for await (const entry of entries) yield { ...entry, name: prefix + entry.name };
}

async function* exportTree(
  api: ContainerApi,
  path: string,
  limits: TreeLimits,
  signal: AbortSignal,
  explain: (error: unknown) => Promise<unknown>,
) {
  if (path === "/" || isKernelPath(`${path}/`)) throw unseen(path);
  const { entry, missing } = await lookUp(api, path, signal);
  if (!entry) throw notFound(missing ?? path);
  if (entry.kind === "link") throw isLink(path, entry.target ?? "", "");
  if (entry.kind === "other")
    throw new GatewayError("NOT_A_FILE", `\`${printable(path)}\` is a ${kindName(entry.kind)}`);
  const root = posix.basename(path);
  const nameOf = (name: string) => {
    const plain = name.endsWith("/") ? name.slice(0, -1) : name;
    if (plain === root) return "";
    return plain.startsWith(`${root}/`) ? plain.slice(root.length + 1) : undefined;
  };
  const excess = new GatewayError("TRANSFER_TOO_LARGE", `there is too much in \`${printable(path)}\``);
  let pruned = "";
  for await (const found of entriesOf(await api.getArchive(path, signal), {
    nameOf,
    limits,
    excess,
    signal,
    explain,
  })) {
    if (pruned !== "" && found.name.startsWith(pruned)) continue;
    pruned = found.kind === "directory" && limits.prune.includes(posix.basename(found.name)) ? `${found.name}/` : "";
    yield found;
  }
}
