import { mkdtemp, rm } from "node:fs/promises";
import { createServer, request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Readable } from "node:stream";
import { buffer } from "node:stream/consumers";
import type { AskPerson } from "../../src/approval/approval.ts";
import type { EventBody, RecordBody } from "../../src/audit/record.ts";
import { readAuthorities } from "../../src/egress/authorities.ts";
import { createDial } from "../../src/egress/dial.ts";
import { createRegistryHttp } from "../../src/egress/registry-http.ts";
import { createSecrets } from "../../src/egress/secret-cache.ts";
import type { SessionAuthority } from "../../src/egress/session-authority.ts";
import { createSessionSecrets } from "../../src/egress/session-secrets.ts";
import { type PackageSite, packageSites, type SitePorts } from "../../src/egress/session-site.ts";
import { Traffic } from "../../src/egress/traffic.ts";
import { createUpstream } from "../../src/egress/upstream.ts";
import type { Advisories } from "../../src/packages/advisories/advisories.ts";
import { openPackageCache } from "../../src/packages/cache/disk-cache.ts";
import { packageRegistries } from "../../src/packages/ecosystems/ecosystems.ts";
import type { ownRegistries } from "../../src/packages/sources/registries.ts";
import { readSources } from "../../src/packages/sources/sources.ts";
import { alone, decide } from "../../src/policy/decide.ts";
import { mayPermitPackages } from "../../src/policy/package-scope.ts";
import type { UsageFacts } from "../../src/policy/usage.ts";
import { bundleWith, listen, PRINCIPAL } from "./egress.ts";

const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined, debug: () => undefined };

export interface TestPackages extends AsyncDisposable {
  readonly site: PackageSite;
  /** Of an HTTP proxy on loopback that leads to the session's registries, and nowhere else. */
  readonly proxy: string;
  readonly directory: string;
  /** Asks as a package manager would. */
  get(url: string, headers?: Readonly<Record<string, string>>): Promise<TestReply>;
  events(name: EventBody["event"]): Record<string, unknown>[];
  /** Another session with the same cache and policy. */
  again(): Promise<TestPackages>;
}

export interface TestReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  /** Absent when the connection ended before the body did. */
  readonly body: Buffer | undefined;
}

export interface PackageSettings {
  /** `profile.yaml`, with its `packages`. */
  readonly profile: string;
  readonly cedar?: string;
  /** Whose certificates registries may have. */
  readonly authority?: SessionAuthority;
  readonly advisories?: Advisories;
  /** Go's checksum database. */
  readonly sumdb?: string;
  readonly nowMs?: () => number;
  readonly directory?: string;
  /** Nobody is there to be asked without. */
  readonly ask?: AskPerson;
  /** Where packages come from for which the profile has no registry; nowhere when absent. */
  readonly own?: typeof ownRegistries;
  /** What the session has used; nothing when absent. */
  readonly usage?: () => UsageFacts;
  readonly onAdmitted?: SitePorts["onAdmitted"];
}

export const NO_ADVISORIES: Advisories = {
  about: () => [],
  imported: () => undefined,
  [Symbol.dispose]: () => undefined,
};

/** One session's registries, with everything real but the sandbox: policy, cache, the way out, and the network. */
export async function openTestPackages(settings: PackageSettings): Promise<TestPackages> {
  await using stack = new AsyncDisposableStack();
  const directory = settings.directory ?? (await mkdtemp(join(tmpdir(), "glovebox-packages-")));
  if (settings.directory === undefined) stack.defer(() => rm(directory, { recursive: true, force: true }));
  const bundle = await bundleWith(settings.profile, settings.cedar ?? "");
  const { profile } = bundle;
  const policy = alone(bundle, "test");
  if (!profile.packages) throw new Error("the profile has no packages");
  const { packages } = profile;
  const ending = new AbortController();
  const trusted = settings.authority ? [settings.authority.certificate] : (await readAuthorities([])).all;
  const records: RecordBody[] = [];
  const audit = { append: async (body: RecordBody) => void records.push(body) };
  const log = quiet as never;
  const dial = createDial({ egress: () => profile.egress });
  const upstream = stack.use(
    createUpstream({
      dial,
      authorities: async () => trusted,
      ending: ending.signal,
    }),
  );
  const values = createSecrets(profile.secrets, { signal: ending.signal, onFailure: () => undefined });
  const secrets = createSessionSecrets(profile.secrets, {
    values,
    granted: () => profile.secrets,
    ending: ending.signal,
  });
  const cache = stack.use(await openPackageCache({ directory: join(directory, "cache"), maxBytes: 2 ** 30, log }));
  const site = packageSites({
    registries: packageRegistries(packages, {
      sumdb: settings.sumdb,
      suite: "trixie",
      architecture: "amd64",
      mayPermit: (ecosystem) => mayPermitPackages(policy, ecosystem),
    }),
    sources: () => readSources(packages, settings.own ?? (async () => [])),
    cache,
    advisories: settings.advisories ?? NO_ADVISORIES,
    licenses: packages.licenses,
    pin: packages.pin,
    similarTo: () => [],
    nowMs: settings.nowMs ?? Date.now,
    decide: (request) => decide(policy, { ...request, ...(settings.usage && { usage: settings.usage() }) }),
    policyDigest: () => policy.identity.digest,
    audit,
    log,
    ...(settings.onAdmitted && { onAdmitted: settings.onAdmitted }),
  })({
    sessionId: "ses-test",
    principal: PRINCIPAL,
    callsRunning: () => ["call-test"],
    send: createRegistryHttp({ upstream, secrets, bound: profile.secrets }),
    traffic: new Traffic({ audit, sessionId: "ses-test", log, callsRunning: () => ["call-test"] }),
    ending: ending.signal,
    ask: settings.ask ?? (async () => ({ approved: false, why: "unreachable", text: "nobody can be asked" })),
  });
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? "/", "http://packages.glovebox.internal/");
    const gone = new AbortController();
    response.once("close", () => gone.abort());
    const { host, port, protocol, pathname, search } = url;
    const target = {
      host: url.hostname,
      port: Number(port || 80),
      scheme: "http",
      path: pathname + search,
    } as const;
    if (protocol !== "http:" || host === "") return void response.writeHead(400).end();
    const asked = { method: request.method ?? "", accept: request.headers.accept ?? "*/*" };
    site.site.answer(target, asked, gone.signal).then(
      ({ status, headers, body }) => {
        response.writeHead(status, headers);
        if (body instanceof Readable) body.on("error", () => response.destroy()).pipe(response);
        else response.end(body);
      },
      () => response.destroy(),
    );
  });
  const port = await listen(server);
  stack.defer(async () => {
    ending.abort();
    server.closeAllConnections();
    server.close();
  });
  const owned = stack.move();
  return {
    site,
    directory,
    proxy: `http://127.0.0.1:${port}`,
    get: (url, headers = {}) => get(port, url, headers),
    events: (name) =>
      records.flatMap((it) => (it.kind === "event" && it.event === name ? [it.facts as Record<string, unknown>] : [])),
    again: () => openTestPackages({ ...settings, directory }),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

function get(port: number, url: string, headers: Readonly<Record<string, string>>): Promise<TestReply> {
  const { promise, resolve, reject } = Promise.withResolvers<TestReply>();
  const asked = httpRequest({ host: "127.0.0.1", port, path: url, headers, agent: false }, (message) => {
    const { statusCode: status = 0, headers } = message;
    buffer(message).then(
      (body) => resolve({ status, headers, body: message.complete ? body : undefined }),
      () => resolve({ status, headers, body: undefined }),
    );
  });
  asked.on("error", reject).end();
  return promise;
}
