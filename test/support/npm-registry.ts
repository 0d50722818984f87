import { createHash } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import { buffer } from "node:stream/consumers";
import { gzipSync } from "node:zlib";
import { pack } from "tar-stream";
import type { SessionAuthority } from "../../src/egress/session-authority.ts";
import { openOrigin } from "./egress.ts";

/** A version of a package in a test's own registry. */
export interface TestVersion {
  readonly version: string;
  /** Hours since it was published; `null` when the registry doesn't say. Old when absent. */
  readonly ageHours?: number | null;
  readonly manifest?: Readonly<Record<string, unknown>>;
  /** Besides package.json. */
  readonly files?: Readonly<Record<string, string>>;
  /** What the registry says of the tarball in the place of the truth. */
  readonly dist?: Readonly<Record<string, unknown>>;
  /** Answers for the tarball in the registry's place. */
  readonly serve?: (request: IncomingMessage, response: ServerResponse, tarball: Buffer) => void;
}

export interface TestRegistry extends AsyncDisposable {
  /** With a slash at the end. */
  readonly url: string;
  readonly port: number;
  /** Paths that were asked for, with the query, the first first. */
  readonly requests: string[];
  readonly headers: IncomingMessage["headers"][];
  publish(name: string, ...versions: readonly TestVersion[]): Promise<void>;
  /** Answers at this path in the place of whatever was there. */
  at(path: string, answer: (request: IncomingMessage, response: ServerResponse) => void): void;
}

/** A `profile.yaml` that lets every package of this registry in, as far as the usual rules go. */
export function profileFor({ url }: TestRegistry): string {
  return `egress:
  hosts: {registry.test: 127.0.0.1}
  private: [registry.test]
packages:
  allow: ["npm:*"]
  registries: {npm: [{url: "${url}"}]}
`;
}

/** An npm registry on loopback that says of packages whatever a test has it say. */
export async function openNpmRegistry(authority?: SessionAuthority): Promise<TestRegistry> {
  const routes = new Map<string, (request: IncomingMessage, response: ServerResponse) => void>();
  const requests: string[] = [];
  const headers: IncomingMessage["headers"][] = [];
  const answer = (request: IncomingMessage, response: ServerResponse) => {
    const path = decodeURIComponent(request.url ?? "/").replace(/\?.*/, "");
    requests.push(path);
    headers.push(request.headers);
    const route = routes.get(path);
    if (route) route(request, response);
    else response.writeHead(404, { "content-type": "application/json" }).end('{"error":"not found"}');
  };
  const server = await openOrigin(answer, authority);
  const { port } = server;
  const url = `${authority ? "https" : "http"}://registry.test:${port}/`;
  return {
    url,
    port,
    requests,
    headers,
    at: (path, answer) => routes.set(path, answer),
    publish: async (name, ...versions) => {
      const made = await Promise.all(versions.map(async (it) => ({ ...it, tarball: await tarballOf(name, it) })));
      const base = name.slice(name.indexOf("/") + 1);
      const manifests = made.map(({ version, manifest, dist, tarball }) => {
        const integrity = `sha512-${createHash("sha512").update(tarball).digest("base64")}`;
        const file = `${url}${name}/-/${base}-${version}.tgz`;
        return [version, { name, version, ...manifest, dist: { tarball: file, integrity, ...dist } }] as const;
      });
      const times = made.flatMap(({ version, ageHours = 10_000 }) =>
        ageHours === null ? [] : [[version, new Date(Date.now() - ageHours * 3_600_000).toISOString()] as const],
      );
      const document = {
        name,
        "dist-tags": { latest: versions.at(-1)?.version },
        versions: Object.fromEntries(manifests),
        time: Object.fromEntries(times),
      };
      routes.set(`/${name}`, (_request, response) =>
        response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(document)),
      );
      for (const { version, tarball, serve } of made) {
        routes.set(`/${name}/-/${base}-${version}.tgz`, (request, response) => {
          if (serve) serve(request, response, tarball);
          else response.writeHead(200, { "content-length": tarball.length }).end(tarball);
        });
      }
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  };
}

async function tarballOf(name: string, { version, manifest, files = {} }: TestVersion): Promise<Buffer> {
  const archive = pack();
  const all = { "package.json": JSON.stringify({ name, version, ...manifest }), ...files };
  for (const [path, text] of Object.entries(all)) archive.entry({ name: `package/${path}` }, text);
  archive.finalize();
  return gzipSync(await buffer(archive));
}
