import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdtemp, open, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { gunzipSync } from "node:zlib";
import { GatewayError } from "../errors.ts";
import { encodeTar, plainHeader, type TarHeader, type TarInput } from "../lib/tar-write.ts";
import { run } from "./command.ts";
import { packagesOfStatus, SOURCE_DATE_EPOCH } from "./debian.ts";
import { bootstrap, type Workshop } from "./stages.ts";
import { contentOf, readTar, type TarSource, tarFile } from "./tar.ts";

const AGENT_ID = 1000;
const ACCOUNTS: Readonly<Record<string, string>> = {
  "etc/passwd": `agent:x:${AGENT_ID}:${AGENT_ID}:agent:/home/agent:/bin/bash\n`,
  "etc/group": `agent:x:${AGENT_ID}:\n`,
  "etc/shadow": "agent:!:20000::::::\n",
};
const STATUS = "var/lib/dpkg/status";
const NPM_HOME = "usr/local/lib/node_modules/npm";
const CREATED = new Date(SOURCE_DATE_EPOCH * 1000).toISOString();

/**
 * Writes the default agent image as `image.tar`, an archive that `docker load` takes. Its one layer holds Debian's packages, npm
 * from its registry and the user `agent`; no file of it is set-uid. Equal packages make equal bytes.
 */
export async function makeAgentImage(workshop: Workshop, directory: string): Promise<string[]> {
  const { agent, suite } = workshop.recipe;
  const set = { suite, packages: agent.packages, variant: "minbase", exclude: agent.exclude } as const;
  const base = await bootstrap(workshop, set);
  const npm = await fetchNpm(workshop);
  const layer = join(await mkdtemp(join(workshop.scratch, "agent-")), "layer.tar");
  const hash = createHash("sha256");
  const hashed = async function* (source: AsyncIterable<Buffer>) {
    for await (const piece of source) {
      hash.update(piece);
      yield piece;
    }
  };
  const packages: string[] = [];
  {
    await using baseFile = await open(base);
    await using npmFile = await open(npm);
    const entries = layerEntries(workshop, tarFile(baseFile), tarFile(npmFile), (status) =>
      packages.push(...packagesOfStatus(status)),
    );
    await pipeline(encodeTar(entries), hashed, createWriteStream(layer));
  }
  await rm(base);
  const archive = archiveEntries(layer, (await stat(layer)).size, configOf(workshop, `sha256:${hash.digest("hex")}`));
  await pipeline(encodeTar(archive), createWriteStream(join(directory, "image.tar")));
  await rm(layer);
  return [...packages, `npm=${agent.npm.version}`];
}

async function* layerEntries(
  workshop: Workshop,
  base: TarSource,
  npm: TarSource,
  onStatus: (status: string) => void,
): AsyncGenerator<TarInput> {
  const { exclude } = workshop.recipe.agent;
  for await (const entry of readTar(base)) {
    workshop.command.signal.throwIfAborted();
    const { path } = entry;
    if (path === "" || path.startsWith("dev/")) continue;
    if (exclude.some((it) => path === it || path.startsWith(`${it}/`))) continue;
    const header: TarHeader = { ...entry, mode: entry.mode & 0o1777 };
    const content = contentOf(base, entry);
    const account = ACCOUNTS[path];
    if (account !== undefined) yield withContent(header, `${await textOf(content)}${account}`);
    else yield { ...header, content };
    if (path === STATUS) onStatus(await textOf(contentOf(base, entry)));
  }
  for (const path of ["workspace", "home/agent"]) {
    yield directory(path, { uid: AGENT_ID, gid: AGENT_ID });
  }
  yield* npmEntries(npm);
}

async function* npmEntries(archive: TarSource): AsyncGenerator<TarInput> {
  for (const path of ["usr/local/lib/node_modules", NPM_HOME]) yield directory(path);
  for await (const entry of readTar(archive)) {
    const path = entry.path.replace(/^package\//, "");
    if (entry.type !== "file") continue;
    const mode = path.startsWith("bin/") ? 0o755 : 0o644;
    const header = plainHeader(`${NPM_HOME}/${path}`, { mode, mtime: SOURCE_DATE_EPOCH, size: entry.size });
    yield { ...header, content: contentOf(archive, entry) };
  }
  for (const program of ["npm", "npx"]) {
    const linkname = `../lib/node_modules/npm/bin/${program}-cli.js`;
    const header = { type: "symlink", linkname, mode: 0o777, mtime: SOURCE_DATE_EPOCH } as const;
    yield { ...plainHeader(`usr/local/bin/${program}`, header), content: [] };
  }
}

function directory(path: string, changes: Partial<TarHeader> = {}): TarInput {
  const header = plainHeader(path, { type: "directory", mode: 0o755, mtime: SOURCE_DATE_EPOCH, ...changes });
  return { ...header, content: [] };
}

function withContent(header: TarHeader, text: string): TarInput {
  const content = Buffer.from(text);
  return { ...header, size: content.length, content: [content] };
}

async function textOf(content: AsyncIterable<Buffer>): Promise<string> {
  return (await buffer(Readable.from(content))).toString("utf8");
}

/** Debian's npm depends on hundreds of packages; the registry's is one archive, checked against the recipe's digest. */
async function fetchNpm(workshop: Workshop): Promise<string> {
  const { version, integrity } = workshop.recipe.agent.npm;
  const scratch = await mkdtemp(join(workshop.scratch, "npm-"));
  const options = { ...workshop.command, cwd: scratch };
  await run(["npm", "pack", `npm@${version}`, "--silent", "--pack-destination", scratch], options);
  const [name] = (await readdir(scratch)).filter((it) => it.endsWith(".tgz"));
  if (!name) throw new GatewayError("IMAGE_BUILD_FAILED", "npm pack left no archive");
  const content = await readFile(join(scratch, name));
  if (`sha512-${createHash("sha512").update(content).digest("base64")}` !== integrity) {
    throw new GatewayError("IMAGE_BUILD_FAILED", `npm ${version} does not match the recipe's integrity digest`);
  }
  const plain = join(scratch, "npm.tar");
  await writeFile(plain, gunzipSync(content));
  return plain;
}

function configOf({ arch }: Workshop, diffId: string): string {
  return JSON.stringify({
    architecture: arch.debian,
    os: "linux",
    created: CREATED,
    config: {
      User: `${AGENT_ID}:${AGENT_ID}`,
      // The root is read-only to the agent: what it installs for itself with pip or npm goes below its home.
      Env: [
        "PATH=/home/agent/.local/bin:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
        "NPM_CONFIG_PREFIX=/home/agent/.local",
        "NPM_CONFIG_UPDATE_NOTIFIER=false",
      ],
      WorkingDir: "/workspace",
      Cmd: ["/bin/bash"],
    },
    rootfs: { type: "layers", diff_ids: [diffId] },
    history: [{ created: CREATED, created_by: "glovebox image build" }],
  });
}

/** One layer, wrapped as `docker save` would. */
function archiveEntries(layer: string, size: number, config: string): TarInput[] {
  const manifest = [{ Config: "config.json", RepoTags: ["glovebox/agent:default"], Layers: ["layer.tar"] }];
  return [
    withContent(plainHeader("manifest.json"), JSON.stringify(manifest)),
    withContent(plainHeader("config.json"), config),
    { ...plainHeader("layer.tar", { size }), content: createReadStream(layer, { highWaterMark: 1 << 20 }) },
  ];
}
