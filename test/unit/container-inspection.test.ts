import { once } from "node:events";
import { Agent, createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http";
import { type AddressInfo, connect } from "node:net";
import fc from "fast-check";
import { expect, test } from "vitest";
import { inspectContainer } from "../../src/container/docker.ts";
import { hardenedOptions } from "../../src/container/hardening.ts";
import { readEngineWord } from "../../src/container/inspection.ts";
import { weakerThan } from "../../src/container/weaker.ts";
import type { Machine } from "../../src/engine/engine.ts";
import { profileSchema } from "../../src/policy/profile.ts";
import { INFO, INSPECT } from "../support/engine-word.ts";

const profile = profileSchema.parse({});
const asked = hardenedOptions({ hostname: "sandbox-1", image: INSPECT.Image, profile });

/** What of the engine's answer would be another one. */
type Change = (inspect: typeof INSPECT & { [key: string]: unknown }, info: { [key: string]: unknown }) => void;

function changed(change: Change): [inspect: unknown, info: unknown] {
  const inspect = structuredClone(INSPECT);
  const info = structuredClone(INFO);
  change(inspect, info);
  return [inspect, info];
}

/** Sets a member whatever its type was. */
function set(of: object, name: string, value: unknown): void {
  Object.assign(of, { [name]: value });
}

test("a container as we make them is what a real engine says it is", () => {
  const word = readEngineWord(INSPECT, INFO);
  expect(weakerThan(asked, word)).toEqual([]);
  expect(word.container).toMatchObject({ nanoCpus: 1_900_000_000, appArmorProfile: "", networks: ["none"], execs: 0 });
  expect(word.engine).toMatchObject({ version: "26.1.5+dfsg1", swarm: "inactive" });
});

test("a profile that permits a writable root has it said of no container that is less", () => {
  const options = hardenedOptions({
    hostname: "x",
    image: INSPECT.Image,
    profile: profileSchema.parse({ writableRoot: true }),
  });
  expect(weakerThan(options, readEngineWord(INSPECT, INFO))).toEqual([]);
  const writable = changed(({ HostConfig }) => set(HostConfig, "ReadonlyRootfs", false));
  expect(weakerThan(options, readEngineWord(...writable))).toEqual([]);
  expect(weakerThan(asked, readEngineWord(...writable))).toEqual(["its root file system can be written"]);
});

test("a volume that the image asks for is no weakness, and an engine that names its runtime may", () => {
  const answer = changed((it, info) => {
    set(it.Config, "Volumes", { "/data/": {} });
    set(it, "Mounts", [...it.Mounts, VOLUME]);
    set(info, "DefaultRuntime", "crun");
  });
  expect(weakerThan(asked, readEngineWord(...answer))).toEqual([]);
});

const host =
  (name: string, value: unknown): Change =>
  ({ HostConfig }) =>
    set(HostConfig, name, value);
const bind = { Type: "bind", Source: "/etc", Destination: "/host", RW: false, Propagation: "rprivate" };
const VOLUME = {
  ...{ Type: "volume", Source: "/var/lib/docker/volumes/x/_data", Destination: "/data" },
  ...{ RW: true, Propagation: "" },
};
const WEAKER: Readonly<Record<string, Change>> = {
  "it is privileged": host("Privileged", true),
  "it has capabilities: SYS_ADMIN": host("CapAdd", ["SYS_ADMIN"]),
  "lost none only": host("CapDrop", null),
  "its security options are `no-new-privileges:true seccomp=unconfined`": host("SecurityOpt", [
    "no-new-privileges:true",
    "seccomp=unconfined",
  ]),
  "its security options are none": host("SecurityOpt", null),
  "its limit of processes is 0": host("PidsLimit", null),
  "its limit of processes is -1": host("PidsLimit", -1),
  "its limit of processes is 513": host("PidsLimit", 513),
  "its memory limit is 0": host("Memory", 0),
  "its CPU limit is 0": host("NanoCpus", 0),
  "its CPU limit is 2000000000": host("NanoCpus", 2_000_000_000),
  "it has devices: /dev/kvm": host("Devices", [{ PathOnHost: "/dev/kvm", PathInContainer: "/dev/kvm" }]),
  "it may use devices: a *:* rwm": host("DeviceCgroupRules", ["a *:* rwm"]),
  "its network is `host`": host("NetworkMode", "host"),
  "its process namespace is `host`": host("PidMode", "host"),
  "its IPC namespace is `shareable`": host("IpcMode", "shareable"),
  "its UTS namespace is `host`": host("UTSMode", "host"),
  "its user namespace is `host`": host("UsernsMode", "host"),
  "its cgroup namespace is `host`": host("CgroupnsMode", "host"),
  "its cgroup lies below /system.slice": host("CgroupParent", "/system.slice"),
  "its restart policy is `always`": host("RestartPolicy", { Name: "always" }),
  "its ulimits are none": host("Ulimits", null),
  "there are binds: /:/host": host("Binds", ["/:/host"]),
  "it has volumes of another": host("VolumesFrom", ["another"]),
  "it publishes ports: 22/tcp": host("PortBindings", { "22/tcp": [{ HostPort: "22" }] }),
  "kernel paths are not hidden: /proc/kcore": host("MaskedPaths", []),
  "kernel paths can be written: /proc/sys": host("ReadonlyPaths", null),
  "it has kernel settings of its own: net.ipv4.ip_forward": host("Sysctls", { "net.ipv4.ip_forward": "1" }),
  "its user is none": ({ Config }) => set(Config, "User", ""),
  "its first program is /bin/sh": ({ Config }) => set(Config, "Entrypoint", ["/bin/sh"]),
  "it has a health check: CMD true": ({ Config }) => set(Config, "Healthcheck", { Test: ["CMD", "true"] }),
  "bind `/etc` is mounted at /host": (it) => set(it, "Mounts", [...it.Mounts, bind]),
  "bind `/run/glovebox/runner.sock` is mounted at /.glovebox/runner.sock": (it) =>
    set(
      it,
      "Mounts",
      it.Mounts.map((mount) => ({ ...mount, RW: true })),
    ),
  "volume `/var/lib/docker/volumes/x/_data` is mounted at /host": (it) =>
    set(it, "Mounts", [...it.Mounts, { ...VOLUME, Destination: "/host" }]),
  "volume `/var/lib/docker/volumes/x/_data` is mounted at /tmp": (it) =>
    set(it, "Mounts", [...it.Mounts, { ...VOLUME, Destination: "/tmp" }]),
  "an engine's socket is mounted": (it) =>
    set(it, "Mounts", [...it.Mounts, { ...VOLUME, Destination: "/run/docker.sock" }]),
  "nothing of ours is mounted at /.glovebox/inside": (it) =>
    set(
      it,
      "Mounts",
      it.Mounts.filter((mount) => mount.Destination !== "/.glovebox/inside"),
    ),
  "file systems in memory at /x": host("Tmpfs", { "/x": "exec" }),
  "it is not ended when it runs out of memory": host("OomKillDisable", true),
  "it is spared when memory runs out: -1000": host("OomScoreAdj", -1_000),
  "its first program is given sh -c x": ({ Config }) => set(Config, "Cmd", ["sh", "-c", "x"]),
  "its runtime is `crun`, not runsc": (_, info) => set(info, "DefaultRuntime", "runsc"),
  "mounts are passed on (rshared) at /tmp": (it) =>
    set(it, "Mounts", [{ Type: "volume", Source: "/v", Destination: "/tmp", RW: true, Propagation: "rshared" }]),
  "it is in the networks none bridge": ({ NetworkSettings }) =>
    set(NetworkSettings, "Networks", { none: {}, bridge: {} }),
  "programs were started through the engine: 2": (it) => set(it, "ExecIDs", ["a", "b"]),
  "the container does not run: it is paused": ({ State }) => {
    set(State, "Running", false);
    set(State, "Status", "paused");
  },
  "its image is sha256:": (it) => set(it, "Image", `sha256:${"0".repeat(64)}`),
  "the machine's engine has 2 containers": (_, info) => set(info, "Containers", 2),
  "the engine's seccomp filter is none": (_, info) => set(info, "SecurityOptions", ["name=cgroupns"]),
  "the engine is in a swarm: active": (_, info) => set(info, "Swarm", { LocalNodeState: "active" }),
};

test.each(Object.entries(WEAKER))("%s is told", (words, change) => {
  const weaker = weakerThan(asked, readEngineWord(...changed(change)));
  expect(weaker.join("\n")).toContain(words);
});

const MOUNT_OF_A_KIB = { ...bind, Source: "\u20ac".repeat(200), Destination: '"'.repeat(200) };
const MALFORMED: readonly [string, Change][] = [
  ["another type", host("Privileged", "false")],
  ["a missing member", ({ HostConfig }) => set(HostConfig, "Privileged", undefined)],
  ["a number that is none", host("NanoCpus", 1.5)],
  ["a text that is too long", host("NetworkMode", "n".repeat(257))],
  [
    "a list that is too long",
    host(
      "SecurityOpt",
      Array.from({ length: 65 }, () => "no-new-privileges:true"),
    ),
  ],
  [
    "names of tens of thousands",
    host("Sysctls", Object.fromEntries(Array.from({ length: 90_000 }, (_, at) => [at, ""]))),
  ],
  [
    "a list of tens of thousands",
    host(
      "CapAdd",
      Array.from({ length: 90_000 }, () => 1),
    ),
  ],
  [
    "more than there is to say",
    (it) =>
      set(
        it,
        "Mounts",
        Array.from({ length: 64 }, () => MOUNT_OF_A_KIB),
      ),
  ],
  ["an id that is none", (it) => set(it, "Id", "../../version")],
  ["no list", (it) => set(it, "Mounts", { length: 0 })],
  ["an engine without a version", (_, info) => set(info, "ServerVersion", null)],
];

test.each(MALFORMED)("an answer with %s is not read", (_, change) => {
  expect(() => readEngineWord(...changed(change))).toThrow(expect.objectContaining({ code: "CHANNEL_VIOLATION" }));
});

/** Every place in a JSON value, as the keys that lead there. */
function placesIn(value: unknown, path: readonly string[] = []): (readonly string[])[] {
  const members = typeof value === "object" && value !== null ? Object.entries(value) : [];
  return [path, ...members.flatMap(([key, member]) => placesIn(member, [...path, key]))].filter((it) => it.length > 0);
}

test("whatever an engine answers in whichever place, it is read within bounds or breaks its word", () => {
  const places = placesIn({ inspect: INSPECT, info: INFO });
  fc.assert(
    fc.property(fc.constantFrom(...places), fc.jsonValue({ maxDepth: 3 }), (path, value) => {
      const answer = structuredClone({ inspect: INSPECT, info: INFO });
      const [last = "", ...above] = path.toReversed();
      const parent = above.toReversed().reduce((at: object, key) => Reflect.get(at, key), answer);
      Reflect.set(parent, last, value);
      try {
        const word = readEngineWord(answer.inspect, answer.info);
        const weaker = weakerThan(asked, word);
        expect(Buffer.byteLength(JSON.stringify(word))).toBeLessThanOrEqual(32 * 1024);
        // biome-ignore lint/suspicious/noControlCharactersInRegex: that there are none is the point
        expect([...weaker, JSON.stringify(word)].join("")).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e]/);
      } catch (error) {
        expect(error).toMatchObject({ name: "GatewayError", code: "CHANNEL_VIOLATION" });
      }
    }),
    { numRuns: 500 },
  );
});

test("what an engine says has no control characters, in facts and in what is told of them", () => {
  const name = "\u001b]0;x\u0007\u202ea\nb";
  const word = readEngineWord(
    ...changed((it, info) => {
      set(it.HostConfig, "NetworkMode", name);
      set(it.HostConfig, "PortBindings", { [name]: [] });
      set(it.Mounts[0] ?? {}, "Destination", name);
      set(info, "ServerVersion", name);
    }),
  );
  const all = JSON.stringify([word, weakerThan(asked, word)]);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: that there are none is the point
  expect(all).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202a-\u202e]|\\[nu]/);
  expect(() => readEngineWord(...changed((it) => set(it, "Id", name)))).toThrow(
    expect.objectContaining({ message: expect.not.stringContaining("\u001b") }),
  );
});

/** A machine whose engine answers as a test wants, as an agent who owns the machine can make it answer. */
async function machineWith(answer: RequestListener): Promise<{ machine: Machine } & AsyncDisposable> {
  const server = createServer(answer);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const agent = new Agent();
  agent.createConnection = () => connect(port, "127.0.0.1");
  const machine = { dockerAgent: agent, lost: new AbortController().signal } as unknown as Machine;
  return {
    machine,
    [Symbol.asyncDispose]: async () => {
      agent.destroy();
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

const real = (request: IncomingMessage, response: ServerResponse, id: string = INSPECT.Id) =>
  response.end(JSON.stringify(request.url?.endsWith("/info") ? INFO : { ...INSPECT, Id: id }));

test("an engine is asked for this container and for itself, and for nothing else", async () => {
  const asked: (string | undefined)[] = [];
  await using it = await machineWith((request, response) => {
    asked.push(`${request.method} ${request.url}`);
    real(request, response);
  });
  expect(await inspectContainer(INSPECT.Id, it.machine, AbortSignal.timeout(30_000))).toEqual(
    readEngineWord(INSPECT, INFO),
  );
  expect(asked.toSorted()).toEqual([`GET /containers/${INSPECT.Id}/json`, "GET /info"]);
});

test.each<[string, RequestListener]>([
  ["more than a mebibyte", (_, response) => response.end(`["${"x".repeat(2_000_000)}"]`)],
  ["what is not JSON", (_, response) => response.end("<html>")],
  ["null", (_, response) => response.end("null")],
  ["nothing", (_, response) => response.end()],
  ["of another container", (request, response) => real(request, response, "f".repeat(64))],
  [
    "that there is no such container",
    (_, response) => response.writeHead(404).end('{"message":"No such \\u001bthing"}'),
  ],
  ["what is not HTTP", (request) => request.socket.end("SSH-2.0-x\r\n\r\n")],
])("an engine that answers %s breaks its word", async (_, answer) => {
  await using it = await machineWith(answer);
  const inspecting = inspectContainer(INSPECT.Id, it.machine, AbortSignal.timeout(30_000));
  await expect(inspecting).rejects.toMatchObject({ code: "CHANNEL_VIOLATION" });
});

test("an engine that never ends its answer is given up, and one that refuses has its words told", async () => {
  const limit = new AbortController();
  await using slow = await machineWith((request, response) => {
    if (request.url?.endsWith("/info")) return void response.end(JSON.stringify(INFO));
    response.write("{");
    limit.abort(new Error("enough"));
  });
  await expect(inspectContainer(INSPECT.Id, slow.machine, limit.signal)).rejects.toThrow("enough");
  await using no = await machineWith((_, response) =>
    response.writeHead(500).end('{"message":"No such \\u001bthing"}'),
  );
  await expect(inspectContainer(INSPECT.Id, no.machine, AbortSignal.timeout(30_000))).rejects.toMatchObject({
    code: "CONTAINER_FAILED",
    message: expect.stringContaining("No such \ufffdthing"),
  });
});
