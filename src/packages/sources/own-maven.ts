import { readdir, readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { XMLParser } from "fast-xml-parser";
import { openPromise } from "yauzl";
import { z } from "zod";
import { isMissing } from "../../lib/error.ts";
import { askTool } from "./ask-tool.ts";

/** A mirror for everything, or for the central repository, of the user's or the installation's settings; else what Maven itself has (its super POM). */
export async function mavenRepository(): Promise<string[]> {
  const { stdout } = await askTool("mvn", ["--version"]);
  const home = /^Maven home: (.+)$/m.exec(stdout)?.[1];
  if (home === undefined) return [];
  for (const file of [join(homedir(), ".m2", "settings.xml"), join(home, "conf", "settings.xml")]) {
    const mirror = await mirrorIn(file);
    if (mirror !== undefined) return [mirror];
  }
  return [await centralOf(home)].filter((it) => it !== undefined);
}

const many = <T extends z.ZodType>(one: T) =>
  z.preprocess((it) => (it === undefined || it === "" ? [] : Array.isArray(it) ? it : [it]), z.array(one));

const settingsSchema = z.looseObject({
  settings: z.looseObject({
    mirrors: z
      .union([z.literal(""), z.looseObject({ mirror: many(z.looseObject({ mirrorOf: z.string(), url: z.string() })) })])
      .optional(),
  }),
});

async function mirrorIn(file: string): Promise<string | undefined> {
  try {
    const read = settingsSchema.safeParse(new XMLParser().parse(await readFile(file, "utf8")));
    const { mirrors } = read.data?.settings ?? {};
    const all = mirrors === undefined || mirrors === "" ? [] : mirrors.mirror;
    // Maven's own settings have one besides, by which it blocks whatever has no TLS (`external:http:*`).
    return all.find(({ mirrorOf }) => /^(\*|central|external:\*)$/.test(mirrorOf.trim()))?.url.trim();
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

const pomSchema = z.looseObject({
  project: z.looseObject({
    repositories: z.looseObject({ repository: many(z.looseObject({ id: z.string(), url: z.string() })) }),
  }),
});

async function centralOf(home: string): Promise<string | undefined> {
  const jar = (await readdir(join(home, "lib"))).find((it) => /^maven-model-builder.*\.jar$/.test(it));
  if (jar === undefined) return undefined;
  const zip = await openPromise(join(home, "lib", jar), { lazyEntries: true });
  for await (const entry of zip.eachEntry()) {
    if (!/^org\/apache\/maven\/model\/pom-4\.\d\.\d\.xml$/.test(entry.fileName)) continue;
    const pom = pomSchema.parse(new XMLParser().parse(await text(await zip.openReadStreamPromise(entry))));
    zip.close();
    return pom.project.repositories.repository.find(({ id }) => id === "central")?.url;
  }
  return undefined;
}
