import { type ChildProcess, spawn } from "node:child_process";
import { createReadStream } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile } from "node:fs/promises";
import { type IncomingMessage, type RequestOptions, request } from "node:http";
import { join } from "node:path";
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { z } from "zod";
import { GatewayError } from "../errors.ts";
import { enclosed, removeTree, run } from "./command.ts";
import { SOURCE_DATE_EPOCH } from "./debian.ts";
import type { Workshop } from "./stages.ts";

const START_DEADLINE_MS = 60_000;
const STOP_DEADLINE_MS = 20_000;
const DISK_UUID = "6f0e8d5c-0001-4000-8000-676c6f766562";
/** Of what the engine leaves in its directory. The rest it makes anew: databases, and an identity that sessions would share. */
const KEPT = ["image", "overlay2"];
const imageSchema = z.object({ Id: z.string().regex(/^sha256:[0-9a-f]{64}$/) });

/** An archive that `docker load` takes. It may be opened more than once. */
export type ImageArchive = () => Readable;

export function archiveFile(path: string): ImageArchive {
  return () => createReadStream(path, { highWaterMark: 1 << 20 });
}

/**
 * Writes the raw disk `file`: ext4 with an inner engine's data that holds the image already. The guest's own engine loads it, on this
 * host and in namespaces of its own; `mke2fs -d` needs no mount. Answers the image's id.
 * @throws GatewayError IMAGE_BUILD_FAILED, IMAGE_INVALID
 */
export async function bakeDisk(
  workshop: Workshop,
  options: { root: string; sources: string; image: ImageArchive; file: string },
): Promise<string> {
  const { recipe, scratch, command, isRoot } = workshop;
  const place = await mkdtemp(join(scratch, "bake-"));
  const data = join(place, "data");
  const sockets = join(place, "s");
  await mkdir(data, { mode: 0o710 });
  await mkdir(sockets);
  let imageId: string;
  {
    await using engine = startEngine(workshop, [join(options.sources, "bake/engine.sh"), options.root, data, sockets]);
    const socketPath = join(sockets, "docker.sock");
    await engineReady(engine.process, socketPath, command.signal);
    imageId = await load(socketPath, options.image, command.signal);
  }
  const left = (await readdir(data)).filter((name) => !KEPT.includes(name));
  for (const name of left) await removeTree(workshop, join(data, name));
  const identity = ["-U", DISK_UUID, "-E", `hash_seed=${DISK_UUID}`];
  const features = ["-t", "ext4", "-T", "sandbox", "-m", String(recipe.disk.reservedPercent), ...identity];
  const argv = ["mke2fs", "-q", "-F", ...features, "-d", data, options.file, `${recipe.disk.sizeMiB}M`] as const;
  // As the root of the same user namespace, if there is one: the layers' files belong to its users.
  const env = { MKE2FS_CONFIG: join(options.sources, "mke2fs.conf"), E2FSPROGS_FAKE_TIME: String(SOURCE_DATE_EPOCH) };
  await run(isRoot ? argv : enclosed(argv, { network: false, mapped: true }), { ...command, env });
  await removeTree(workshop, place);
  return imageId;
}

interface RunningEngine extends AsyncDisposable {
  readonly process: ChildProcess;
}

function startEngine({ command, isRoot }: Workshop, script: readonly [string, ...string[]]): RunningEngine {
  const [program, ...args] = enclosed(["sh", ...script], { network: false, mapped: !isRoot });
  const child = spawn("setpriv", ["--pdeathsig", "KILL", "--", program, ...args], {
    stdio: ["ignore", command.log.fd, command.log.fd],
  });
  const gone = new Promise<void>((resolve) => {
    child.once("exit", () => resolve());
    child.once("error", () => resolve());
  });
  return {
    process: child,
    [Symbol.asyncDispose]: async () => {
      // `unshare` waits for its child, the namespace's first process: that is the engine, which has to write down what it holds.
      for (const pid of await childrenOf(child.pid)) process.kill(pid, "SIGTERM");
      const late = setTimeout(() => child.kill("SIGKILL"), STOP_DEADLINE_MS);
      await gone;
      clearTimeout(late);
    },
  };
}

async function childrenOf(pid: number | undefined): Promise<number[]> {
  const list = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8").catch(() => "");
  return list.split(" ").filter(Boolean).map(Number);
}

async function engineReady(child: ChildProcess, socketPath: string, signal: AbortSignal): Promise<void> {
  const deadline = performance.now() + START_DEADLINE_MS;
  while (performance.now() < deadline && child.exitCode === null && child.signalCode === null) {
    const answered = await ask({ socketPath, path: "/_ping", signal }).then(
      (it) => it.statusCode === 200,
      () => false,
    );
    if (answered) return;
    await sleep(100, undefined, { signal });
  }
  throw new GatewayError("IMAGE_BUILD_FAILED", "the container engine that loads the agent image does not start here");
}

async function load(socketPath: string, image: ImageArchive, signal: AbortSignal): Promise<string> {
  const path = "/images/load?quiet=1";
  const headers = { "content-type": "application/x-tar" };
  const answer = await text(await ask({ socketPath, path, method: "POST", headers, signal }, image()));
  const failure = /"error":"((?:[^"\\]|\\.){0,500})/.exec(answer)?.[1];
  if (failure !== undefined) throw new GatewayError("IMAGE_INVALID", `the image cannot be loaded: ${failure}`);
  const listed = z
    .array(imageSchema)
    .parse(JSON.parse(await text(await ask({ socketPath, path: "/images/json", signal }))));
  const [only] = listed;
  if (!only || listed.length !== 1) {
    throw new GatewayError(
      "IMAGE_INVALID",
      `an archive must hold exactly one image for ${process.arch}, not ${listed.length}`,
    );
  }
  return only.Id;
}

async function ask(options: RequestOptions, body?: Readable): Promise<IncomingMessage> {
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
  const outgoing = request(options, resolve);
  outgoing.once("error", reject);
  if (body) await Promise.all([promise, pipeline(body, outgoing)]);
  else outgoing.end();
  return promise;
}
