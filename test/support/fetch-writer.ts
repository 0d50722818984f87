import { fetchBundle } from "../../src/policy/distribution/fetch.ts";
import { readPublicKey } from "../../src/policy/distribution/keys.ts";

/** A program that fetches a folder's bundle and accepts it: `fetch-writer.ts <folder> <data directory> <key>`. */
const [, , directory = "", dataDirectory = "", key = ""] = process.argv;
const trust = { keys: [await readPublicKey(key)], layer: "team" as const };
const ports = { dataDirectory, signal: new AbortController().signal, authorities: async () => [] };
const bundle = await fetchBundle({ directory }, trust, ports);
await bundle.accept();
console.log(bundle.version);
