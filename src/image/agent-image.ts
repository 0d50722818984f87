import { createHash } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { buffer } from "node:stream/consumers";
import { pipeline } from "node:stream/promises";
import { createGunzip } from "node:zlib";
import { extract, type Header, type Pack, pack } from "tar-stream";
import { GatewayError } from "../errors.ts";
import { run } from "./command.ts";
import { packagesOfStatus, SOURCE_DATE_EPOCH } from "./debian.ts";
import { bootstrap, type Workshop } from "./stages.ts";
import { plainPath, readTar } from "./tar.ts";

const AGENT = { uid: 1000, gid: 1000, uname: "agent", gname: "agent" } as const;
const ACCOUNTS: Readonly<Record<string, string>> = {
  "etc/passwd": "agent:x:1000:1000:agent:/home/agent:/bin/bash\n",
  "etc/group": "agent:x:1000:\n",
  "etc/shadow": "agent:!:20000::::::\n",
};
const NPM_HOME = "usr/local/lib/node_modules/npm";
const mtime = new Date(SOURCE_DATE_EPOCH * 1000);

/**
 * Writes the default agent image's root file system as `rootfs.tar`: Debian's packages, npm from its registry, the user `agent`, and
 * no set-uid program.
 */
export async function makeAgentImage(workshop: Workshop, directory: string): Promise<string[]> {
  const { agent, suite } = workshop.recipe;
  const base = await bootstrap(workshop, {
    suite,
    packages: agent.packages,
    variant: "minbase",
    exclude: agent.exclude,
  });
  const archive = pack();
  const written = pipeline(archive, createWriteStream(join(directory, "rootfs.tar")));
  const packages = await copyBase(workshop, base, archive);
  for (const path of ["workspace", "home/agent"]) {
    archive.entry({ name: path, type: "directory", mode: 0o755, mtime, ...AGENT });
  }
  await addNpm(workshop, archive);
  archive.finalize();
  await written;
  await rm(base);
  return [...packages, `npm=${agent.npm.version}`];
}

async function copyBase(workshop: Workshop, base: string, archive: Pack): Promise<string[]> {
  const { exclude } = workshop.recipe.agent;
  let status = "";
  for await (const { path, header, body } of readTar(base, workshop.command.signal)) {
    if (path === "" || path.startsWith("dev/") || exclude.some((it) => path.startsWith(`${it}/`))) continue;
    const kept: Header = { ...header, name: path, mode: (header.mode ?? 0) & 0o1777 };
    const account = ACCOUNTS[path];
    if (header.type === "file" && (account !== undefined || path === "var/lib/dpkg/status")) {
      const content = Buffer.concat([await buffer(body), Buffer.from(account ?? "")]);
      if (account === undefined) status = content.toString();
      archive.entry({ ...kept, size: content.length }, content);
    } else if (header.type === "file") {
      await pipeline(body, archive.entry(kept));
    } else {
      archive.entry(kept);
    }
  }
  return packagesOfStatus(status);
}

/** Debian's npm depends on hundreds of packages; the registry's is one archive, checked against the recipe's digest. */
async function addNpm(workshop: Workshop, archive: Pack): Promise<void> {
  const { version, integrity } = workshop.recipe.agent.npm;
  const scratch = await mkdtemp(join(workshop.scratch, "npm-"));
  const options = { ...workshop.command, cwd: scratch };
  await run(["npm", "pack", `npm@${version}`, "--silent", "--pack-destination", scratch], options);
  const [name] = (await readdir(scratch)).filter((it) => it.endsWith(".tgz"));
  if (!name) throw new GatewayError("IMAGE_BUILD_FAILED", "npm pack left no archive");
  const file = join(scratch, name);
  const digest = createHash("sha512")
    .update(await readFile(file))
    .digest("base64");
  if (`sha512-${digest}` !== integrity) {
    throw new GatewayError("IMAGE_BUILD_FAILED", `npm ${version} does not match the recipe's integrity digest`);
  }
  for (const path of ["usr/local/lib/node_modules", NPM_HOME]) {
    archive.entry({ name: path, type: "directory", mode: 0o755, mtime });
  }
  const entries = createReadStream(file).pipe(createGunzip()).pipe(extract());
  for await (const entry of entries) {
    const path = plainPath(entry.header.name).replace(/^package\//, "");
    if (entry.header.type === "file") {
      const mode = path.startsWith("bin/") ? 0o755 : 0o644;
      const content = await buffer(entry as unknown as NodeJS.ReadableStream);
      archive.entry({ name: `${NPM_HOME}/${path}`, mode, mtime, size: content.length }, content);
    }
    entry.resume();
  }
  for (const program of ["npm", "npx"]) {
    const linkname = `../lib/node_modules/npm/bin/${program}-cli.js`;
    archive.entry({ name: `usr/local/bin/${program}`, type: "symlink", linkname, mtime });
  }
}
