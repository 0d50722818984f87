import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdtemp, readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { extract, type Header, type Pack, pack } from "tar-stream";
import { GatewayError } from "../errors.ts";
import { run } from "./command.ts";
import { packagesOfStatus, SOURCE_DATE_EPOCH } from "./debian.ts";
import type { Architecture } from "./recipe.ts";
import { bootstrap, type Workshop } from "./stages.ts";
import { plainPath, readTar } from "./tar.ts";

const AGENT = { uid: 1000, gid: 1000, uname: "agent", gname: "agent" } as const;
const ACCOUNTS: Readonly<Record<string, string>> = {
  "etc/passwd": "agent:x:1000:1000:agent:/home/agent:/bin/bash\n",
  "etc/group": "agent:x:1000:\n",
  "etc/shadow": "agent:!:20000::::::\n",
};
const STATUS = "var/lib/dpkg/status";
const NPM_HOME = "usr/local/lib/node_modules/npm";
const mtime = new Date(SOURCE_DATE_EPOCH * 1000);

/**
 * Writes the default agent image as `image.tar`, an archive that `docker load` takes. Its one layer holds Debian's packages, npm
 * from its registry and the user `agent`; no file of it is set-uid. Equal packages make equal bytes.
 */
export async function makeAgentImage(workshop: Workshop, directory: string): Promise<string[]> {
  const { agent, suite } = workshop.recipe;
  const set = { suite, packages: agent.packages, variant: "minbase", exclude: agent.exclude } as const;
  const base = await bootstrap(workshop, set);
  const layerPath = join(await mkdtemp(join(workshop.scratch, "agent-")), "layer.tar");
  const layer = pack();
  const written = pipeline(layer, createWriteStream(layerPath));
  // Awaited below; a failure of the disk must not surface as unhandled before that.
  written.catch(() => undefined);
  const packages = await copyBase(workshop, base, layer);
  for (const name of ["workspace", "home/agent"]) {
    layer.entry({ name, type: "directory", mode: 0o755, mtime, ...AGENT });
  }
  await addNpm(workshop, layer);
  layer.finalize();
  await written;
  await rm(base);
  await writeArchive(layerPath, workshop.arch, join(directory, "image.tar"));
  await rm(layerPath);
  return [...packages, `npm=${agent.npm.version}`];
}

async function copyBase(workshop: Workshop, base: string, layer: Pack): Promise<string[]> {
  const { exclude } = workshop.recipe.agent;
  let status = "";
  for await (const { path, header, body } of readTar(base, workshop.command.signal)) {
    if (path === "" || path.startsWith("dev/")) continue;
    if (exclude.some((it) => path === it || path.startsWith(`${it}/`))) continue;
    const kept: Header = { ...header, name: path, mode: (header.mode ?? 0) & 0o1777 };
    const account = ACCOUNTS[path];
    if (header.type === "file" && (account !== undefined || path === STATUS)) {
      const content = Buffer.concat([await buffer(body), Buffer.from(account ?? "")]);
      if (path === STATUS) status = content.toString();
      layer.entry({ ...kept, size: content.length }, content);
    } else if (header.type === "file") {
      await pipeline(body, layer.entry(kept));
    } else {
      layer.entry(kept);
    }
  }
  return packagesOfStatus(status);
}

/** Debian's npm depends on hundreds of packages; the registry's is one archive, checked against the recipe's digest. */
async function addNpm(workshop: Workshop, layer: Pack): Promise<void> {
  const { version, integrity } = workshop.recipe.agent.npm;
  const scratch = await mkdtemp(join(workshop.scratch, "npm-"));
  const options = { ...workshop.command, cwd: scratch };
  await run(["npm", "pack", `npm@${version}`, "--silent", "--pack-destination", scratch], options);
  const [name] = (await readdir(scratch)).filter((it) => it.endsWith(".tgz"));
  if (!name) throw new GatewayError("IMAGE_BUILD_FAILED", "npm pack left no archive");
  const file = join(scratch, name);
  const content = await readFile(file);
  if (`sha512-${createHash("sha512").update(content).digest("base64")}` !== integrity) {
    throw new GatewayError("IMAGE_BUILD_FAILED", `npm ${version} does not match the recipe's integrity digest`);
  }
  for (const path of ["usr/local/lib/node_modules", NPM_HOME]) {
    layer.entry({ name: path, type: "directory", mode: 0o755, mtime });
  }
  const entries = createReadStream(file).pipe(createGunzip()).pipe(extract());
  for await (const entry of entries) {
    const path = plainPath(entry.header.name).replace(/^package\//, "");
    if (entry.header.type === "file") {
      const mode = path.startsWith("bin/") ? 0o755 : 0o644;
      const body = await buffer(entry as unknown as NodeJS.ReadableStream);
      layer.entry({ name: `${NPM_HOME}/${path}`, mode, mtime, size: body.length }, body);
    }
    entry.resume();
  }
  for (const program of ["npm", "npx"]) {
    const linkname = `../lib/node_modules/npm/bin/${program}-cli.js`;
    layer.entry({ name: `usr/local/bin/${program}`, type: "symlink", linkname, mtime });
  }
}

/** Wraps one layer as `docker save` would. */
async function writeArchive(layerPath: string, arch: Architecture, file: string): Promise<void> {
  const hash = createHash("sha256");
  await pipeline(createReadStream(layerPath, { highWaterMark: 1 << 20 }), hash);
  const config = JSON.stringify({
    architecture: arch.debian,
    os: "linux",
    created: mtime.toISOString(),
    config: {
      User: `${AGENT.uid}:${AGENT.gid}`,
      // The root is read-only to the agent: what it installs for itself with pip or npm goes below its home.
      Env: [
        "PATH=/home/agent/.local/bin:/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin",
        "NPM_CONFIG_PREFIX=/home/agent/.local",
        "NPM_CONFIG_UPDATE_NOTIFIER=false",
      ],
      WorkingDir: "/workspace",
      Cmd: ["/bin/bash"],
    },
    rootfs: { type: "layers", diff_ids: [`sha256:${hash.digest("hex")}`] },
    history: [{ created: mtime.toISOString(), created_by: "glovebox image build" }],
  });
  const manifest = [{ Config: "config.json", RepoTags: ["glovebox/agent:default"], Layers: ["layer.tar"] }];
  const archive = pack();
  const written = pipeline(archive, createWriteStream(file));
  written.catch(() => undefined);
  archive.entry({ name: "manifest.json", mtime }, JSON.stringify(manifest));
  archive.entry({ name: "config.json", mtime }, config);
  const { size } = await stat(layerPath);
  await pipeline(
    createReadStream(layerPath, { highWaterMark: 1 << 20 }),
    archive.entry({ name: "layer.tar", mtime, size }),
  );
  archive.finalize();
  await written;
}
