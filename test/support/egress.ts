import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createSecureServer } from "node:https";
import { type AddressInfo, createServer as createTcpServer, type Socket, type Server as TcpServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import type { Approvals } from "../../src/approval/approval.ts";
import type { EventBody, RecordBody } from "../../src/audit/record.ts";
import { describeCall } from "../../src/call/describe.ts";
import type { SessionEgress } from "../../src/egress/egress.ts";
import { createSecrets } from "../../src/egress/secret-cache.ts";
import { createSessionAuthority, type SessionAuthority } from "../../src/egress/session-authority.ts";
import { createSessionEgress } from "../../src/egress/session-egress.ts";
import { alone, decide } from "../../src/policy/decide.ts";
import { loadBundle } from "../../src/policy/load.ts";
import type { Principal } from "../../src/policy/request.ts";
import type { TestSandbox } from "../contract/container-suite.ts";
import { openTestSandbox } from "./machine.ts";
import { inForce, NOBODY } from "./policy.ts";

export const PRINCIPAL: Principal = { id: "local:test", client: { name: "t", version: "1" }, transport: "stdio" };
const quiet = { info: () => undefined, warn: () => undefined, error: () => undefined, debug: () => undefined };

export interface TestEgress extends AsyncDisposable {
  readonly egress: SessionEgress;
  readonly records: readonly RecordBody[];
  /** Puts another policy into force. */
  replacePolicy(profile: string, cedar: string): Promise<void>;
  /** Why the session was to be ended. */
  readonly ended: readonly string[];
  /** Facts of the events of one name. */
  events(name: EventBody["event"]): Record<string, unknown>[];
}

export interface EgressSettings {
  /** `profile.yaml`, from `egress:` on. */
  readonly profile?: string;
  /** Policies besides. */
  readonly cedar?: string;
  readonly authority?: SessionAuthority;
  /** Nobody is there to be asked without. */
  readonly approvals?: Approvals;
  readonly callsRunning?: () => readonly string[];
  /** Whatever wakes the sandbox; it is awake without. */
  readonly use?: (signal: AbortSignal) => Promise<Disposable>;
}

/** The real egress of a session, under a policy of the test's own, on a machine that is open already. */
export async function attachEgress(machine: TestSandbox["machine"], settings: EgressSettings): Promise<TestEgress> {
  const bundle = await bundleWith(settings.profile ?? "", settings.cedar ?? "");
  const policy = inForce(bundle);
  const records: RecordBody[] = [];
  const ended: string[] = [];
  const ending = new AbortController();
  const egress = createSessionEgress(
    {
      profile: bundle.profile,
      policy,
      decide: (request) => decide(policy.current, request),
      approvals: settings.approvals ?? NOBODY,
      audit: { append: async (body) => void records.push(body) },
      log: quiet as never,
      secrets: createSecrets(bundle.profile.secrets, { signal: ending.signal, onFailure: () => undefined }),
      authorities: async () => (settings.authority ? [settings.authority.certificate] : []),
    },
    {
      sessionId: "ses-test",
      principal: PRINCIPAL,
      callsRunning: settings.callsRunning ?? (() => []),
      end: (why) => ended.push(why),
      use: settings.use ?? (async () => new DisposableStack()),
    },
  );
  await egress.attach(machine, AbortSignal.timeout(120_000));
  return {
    egress,
    replacePolicy: async (profile, cedar) => policy.replace(alone(await bundleWith(profile, cedar), "test")),
    records,
    events: (name) =>
      records.flatMap((it) => (it.kind === "event" && it.event === name ? [it.facts as Record<string, unknown>] : [])),
    ended,
    [Symbol.asyncDispose]: async () => {
      ending.abort();
      egress[Symbol.dispose]();
    },
  };
}

export async function bundleWith(profile: string, cedar: string) {
  const directory = await mkdtemp(join(tmpdir(), "glovebox-policy-"));
  try {
    const some = 'permit (principal, action == Glovebox::Action::"exec", resource);\n';
    const files = {
      "bundle.yaml": "name: test\nversion: 1.0.0\n",
      "profile.yaml": profile,
      "rules.cedar": some + cedar,
    };
    for (const [name, content] of Object.entries(files))
      await writeFile(join(directory, name), content, { mode: 0o644 });
    return await loadBundle(directory, { describe: describeCall });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

/** Without what tells programs of the proxy: they dial for themselves. */
export const DIRECT = { HTTP_PROXY: "", HTTPS_PROXY: "", http_proxy: "", https_proxy: "" };
export const WAYS = [
  ["by the proxy", {}],
  ["without proxy variables", DIRECT],
] as const;

/** A sandbox whose programs trust the servers of the test. */
export async function openTrustingSandbox({ certificate }: SessionAuthority): Promise<TestSandbox> {
  const sandbox = await openTestSandbox();
  await sandbox.machine.trust(
    { known: { all: certificate, extra: certificate }, own: "" },
    AbortSignal.timeout(120_000),
  );
  return sandbox;
}

export interface Ran {
  readonly code: number | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

let runs = 0;

/** Runs a bash script in the sandbox. */
export async function script(
  sandbox: TestSandbox,
  source: string,
  env: Readonly<Record<string, string>> = {},
  timeoutMs = 120_000,
): Promise<Ran> {
  runs += 1;
  const spec = { run: `run-${runs}`, argv: ["bash", "-c", source] as const, cwd: "/workspace", env, stdin: false };
  const run = await sandbox.container.run(spec, AbortSignal.timeout(timeoutMs));
  const [stdout, stderr] = await Promise.all([text(run.stdout), text(run.stderr)]);
  const ended = await run.exit;
  return { code: "exitCode" in ended ? ended.exitCode : undefined, stdout, stderr };
}

export interface Origin extends AsyncDisposable {
  readonly port: number;
  /** What it was asked, in order. */
  readonly requests: IncomingMessage[];
}

export type Answer = (request: IncomingMessage, response: ServerResponse) => void;

/** A web server on loopback. With an authority it speaks TLS, with a certificate for whatever name is asked for. */
export async function openOrigin(answer: Answer, authority?: SessionAuthority): Promise<Origin> {
  const requests: IncomingMessage[] = [];
  const listener: Answer = (request, response) => {
    requests.push(request);
    answer(request, response);
  };
  const server: Server = authority
    ? createSecureServer(
        {
          SNICallback: (name, done) => void authority.contextFor(name).then((it) => done(null, it), done),
          ALPNProtocols: ["http/1.1"],
        },
        listener,
      )
    : createServer(listener);
  const port = await listen(server);
  return {
    port,
    requests,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** A TCP server on loopback. */
export async function openTcp(onConnection: (socket: Socket) => void): Promise<{ port: number } & AsyncDisposable> {
  const sockets = new Set<Socket>();
  const server = createTcpServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on("error", () => undefined);
    onConnection(socket);
  });
  const port = await listen(server);
  return {
    port,
    [Symbol.asyncDispose]: async () => {
      for (const it of sockets) it.destroy();
      server.close();
    },
  };
}

export async function listen(server: Server | TcpServer): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

export { createSessionAuthority };
