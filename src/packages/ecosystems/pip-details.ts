import { z } from "zod";
import { pipNaming } from "../../policy/ecosystems/pip.ts";
import type { Desk } from "../registry.ts";
import { findDocument, ifAnswered, readJson, readTime } from "./documents.ts";
import { licenseAlternatives } from "./license-alternatives.ts";
import type { IndexFile } from "./pip-index.ts";

/** What some indexes say in a JSON API of their own, next to the pages: times of files, and licences. */

const fileTimes = z.object({
  releases: z.record(
    z.string(),
    z.array(z.object({ filename: z.string(), upload_time_iso_8601: z.string().nullish() })),
  ),
});

const versionInfo = z.object({
  info: z.object({
    version: z.string(),
    license_expression: z.string().nullish(),
    license: z.string().nullish(),
    classifiers: z.array(z.string()).nullish(),
  }),
});

/** Classifiers that mean one licence exactly. */
const CLASSIFIED: ReadonlyMap<string, string> = new Map([
  ["MIT License", "MIT"],
  ["MIT No Attribution License (MIT-0)", "MIT-0"],
  ["Apache Software License", "Apache-2.0"],
  ["ISC License (ISCL)", "ISC"],
  ["The Unlicense (Unlicense)", "Unlicense"],
  ["zlib/libpng License", "Zlib"],
  ["Boost Software License 1.0 (BSL-1.0)", "BSL-1.0"],
  ["Mozilla Public License 2.0 (MPL 2.0)", "MPL-2.0"],
  ["GNU General Public License v2 (GPLv2)", "GPL-2.0-only"],
  ["GNU General Public License v2 or later (GPLv2+)", "GPL-2.0-or-later"],
  ["GNU General Public License v3 (GPLv3)", "GPL-3.0-only"],
  ["GNU General Public License v3 or later (GPLv3+)", "GPL-3.0-or-later"],
  ["GNU Lesser General Public License v3 (LGPLv3)", "LGPL-3.0-only"],
  ["GNU Lesser General Public License v3 or later (LGPLv3+)", "LGPL-3.0-or-later"],
  ["GNU Affero General Public License v3", "AGPL-3.0-only"],
  ["GNU Affero General Public License v3 or later (AGPLv3+)", "AGPL-3.0-or-later"],
]);

/** The files with times, where the page has none and the API does. */
export async function withTimes(name: string, files: IndexFile[], api: string, desk: Desk): Promise<IndexFile[]> {
  if (files.every((it) => it.artifact.publishedMs !== undefined)) return files;
  const times = await ifAnswered(() => timesOf(name, api, desk));
  return files.map((it) => {
    const publishedMs = it.artifact.publishedMs ?? times?.get(it.artifact.file);
    return publishedMs === undefined ? it : { ...it, artifact: { ...it.artifact, publishedMs } };
  });
}

async function timesOf(name: string, api: string, desk: Desk): Promise<ReadonlyMap<string, number | undefined>> {
  const document = await findDocument(desk, `${api}${name}/json`);
  if (!document) return new Map();
  const { releases } = readJson(fileTimes, document.body, `pip's description of \`${name}\``);
  const said = Object.values(releases).flat();
  return new Map(said.map((it) => [it.filename, readTime(it.upload_time_iso_8601)]));
}

/** A version's licences, of which one suffices; none where the registry describes only another version. */
export async function licensesOf(name: string, version: string, api: string, desk: Desk): Promise<readonly string[]> {
  const its = await ifAnswered(() => describedLicenses(`${name}/${encodeURIComponent(version)}`, version, api, desk));
  return its ?? (await ifAnswered(() => describedLicenses(name, version, api, desk))) ?? [];
}

async function describedLicenses(
  path: string,
  version: string,
  api: string,
  desk: Desk,
): Promise<readonly string[] | undefined> {
  const document = await findDocument(desk, `${api}${path}/json`);
  if (!document) return undefined;
  const { info } = readJson(versionInfo, document.body, `pip's description of \`${path}\``);
  const described = pipNaming.readVersion(info.version);
  if (described === undefined || pipNaming.compare(described, version) !== 0) return undefined;
  return readLicenses(info);
}

function readLicenses(info: z.infer<typeof versionInfo>["info"]): readonly string[] {
  if (info.license_expression) return licenseAlternatives(info.license_expression);
  const classified = (info.classifiers ?? []).filter((it) => it.startsWith("License :: "));
  const [classifier = ""] = classified;
  const known = CLASSIFIED.get(classifier.split(" :: ").at(-1) ?? "");
  // Of several nobody says whether one suffices.
  if (classified.length > 0) return known !== undefined && classified.length === 1 ? [known] : [];
  return licenseAlternatives(info.license ?? "");
}
