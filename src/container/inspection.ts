import { posix } from "node:path";
import { z } from "zod";
import { GatewayError } from "../errors.ts";
import { printable } from "../lib/text.ts";

const MAX_CHARS = 256;
const MAX_ITEMS = 64;
/** Of what has names. An image may name many ports. */
const MAX_NAMES = 1_000;
/** Ours have 3 KiB. A record that is too large is kept as a digest (`audit/body.ts`), and nobody would read what is wrong. */
const MAX_WORD_BYTES = 32 * 1024;

/** The engine belongs to the guest: text is capped and printable, lists are short, and what is not of the form is no answer. */
const text = z
  .string()
  .max(MAX_CHARS)
  .transform((it) => printable(it).replaceAll(/[\n\t]/g, " "));
/** Counted before they are looked at one by one: a mebibyte of them would hold up the gateway. */
const few = z
  .unknown()
  .optional()
  .refine((it) => {
    if (typeof it !== "object" || it === null) return true;
    return Array.isArray(it) ? it.length <= MAX_ITEMS : Object.keys(it).length <= MAX_NAMES;
  }, "has too many members");
/** Go writes what is empty as null. */
const list = <T extends z.ZodType>(item: T) =>
  few.pipe(
    z
      .array(item)
      .nullish()
      .transform((it) => it ?? []),
  );
const names = few.pipe(z.record(z.string().max(MAX_CHARS), z.unknown()).nullish());
const count = z.int().min(-1);
const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/);

// Of the Docker Engine API, version 1.45: `ContainerInspect`. Members that nobody asks about are passed over.
const inspected = z.object({
  Id: z.string().regex(/^[0-9a-f]{64}$/),
  Image: digest,
  AppArmorProfile: text,
  ProcessLabel: text,
  ExecIDs: list(z.unknown()),
  State: z.object({ Status: text, Running: z.boolean() }),
  Config: z.object({
    User: text,
    Entrypoint: list(text),
    Cmd: list(text),
    Volumes: names,
    Healthcheck: z.object({ Test: list(text) }).nullish(),
  }),
  HostConfig: z.object({
    Binds: list(text),
    CapAdd: list(text),
    CapDrop: list(text),
    CgroupParent: text,
    CgroupnsMode: text,
    CpuShares: count,
    DeviceCgroupRules: list(text),
    DeviceRequests: list(z.unknown()),
    Devices: list(z.object({ PathOnHost: text })),
    GroupAdd: list(text),
    IpcMode: text,
    MaskedPaths: list(text),
    Memory: count,
    NanoCpus: count,
    MemorySwap: count.nullish(),
    NetworkMode: text,
    OomKillDisable: z.boolean().nullish(),
    OomScoreAdj: z.int(),
    PidMode: text,
    PidsLimit: count.nullish(),
    PortBindings: names,
    Privileged: z.boolean(),
    PublishAllPorts: z.boolean(),
    ReadonlyPaths: list(text),
    ReadonlyRootfs: z.boolean(),
    RestartPolicy: z.object({ Name: text }),
    Runtime: text,
    SecurityOpt: list(text),
    Sysctls: names,
    Tmpfs: names,
    UTSMode: text,
    Ulimits: list(z.object({ Name: text, Soft: count, Hard: count })),
    UsernsMode: text,
    VolumesFrom: list(text),
  }),
  Mounts: list(
    z.object({
      Type: text,
      Source: text.optional(),
      Destination: text,
      RW: z.boolean(),
      Propagation: text.optional(),
    }),
  ),
  NetworkSettings: z.object({ Networks: names, Ports: names }),
});

// `SystemInfo` of the same.
const engineInfo = z.object({
  ServerVersion: text,
  KernelVersion: text,
  Containers: z.int().min(0),
  SecurityOptions: list(text),
  DefaultRuntime: text.nullish(),
  ExperimentalBuild: z.boolean(),
  Swarm: z.object({ LocalNodeState: text }).nullish(),
});

/** How a container is configured, by the word of the engine that runs it. */
export type ContainerFacts = ReturnType<typeof containerFactsOf>;
/** What that engine says of itself. */
export type EngineFacts = ReturnType<typeof engineFactsOf>;

export interface EngineWord {
  readonly container: ContainerFacts;
  readonly engine: EngineFacts;
}

/**
 * Reads what the engine answered to `inspect` and `info`.
 * @throws GatewayError CHANNEL_VIOLATION when it can't be read, or is more than a container of ours has
 */
export function readEngineWord(inspect: unknown, info: unknown): EngineWord {
  const word = { container: containerFactsOf(read(inspected, inspect)), engine: engineFactsOf(read(engineInfo, info)) };
  if (Buffer.byteLength(JSON.stringify(word)) <= MAX_WORD_BYTES) return word;
  throw new GatewayError("CHANNEL_VIOLATION", "the engine says more of its container than there is to say");
}

function containerFactsOf({ HostConfig: host, Config: config, State: state, ...of }: z.infer<typeof inspected>) {
  return {
    id: of.Id,
    image: of.Image,
    status: state.Status,
    isRunning: state.Running,
    user: config.User,
    groupAdd: host.GroupAdd,
    entrypoint: config.Entrypoint,
    command: config.Cmd,
    healthcheck: config.Healthcheck?.Test ?? [],
    privileged: host.Privileged,
    capAdd: host.CapAdd,
    capDrop: host.CapDrop,
    securityOpt: host.SecurityOpt,
    appArmorProfile: of.AppArmorProfile,
    selinuxLabel: of.ProcessLabel,
    readOnlyRoot: host.ReadonlyRootfs,
    maskedPaths: host.MaskedPaths,
    readOnlyPaths: host.ReadonlyPaths,
    mounts: of.Mounts.map(({ Type, Source, Destination, RW, Propagation }) => ({
      type: Type,
      source: Source ?? "",
      target: Destination,
      writable: RW,
      propagation: Propagation ?? "",
    })),
    /** Where the image asks for a volume. */
    imageVolumes: keysOf(config.Volumes).map((it) => posix.resolve("/", it)),
    tmpfs: keysOf(host.Tmpfs),
    binds: host.Binds,
    volumesFrom: host.VolumesFrom,
    devices: host.Devices.map((it) => it.PathOnHost),
    deviceRules: host.DeviceCgroupRules,
    deviceRequests: host.DeviceRequests.length,
    networkMode: host.NetworkMode,
    networks: keysOf(of.NetworkSettings.Networks),
    ports: [...new Set([...keysOf(host.PortBindings), ...keysOf(of.NetworkSettings.Ports)])],
    publishesAllPorts: host.PublishAllPorts,
    pidMode: host.PidMode,
    ipcMode: host.IpcMode,
    utsMode: host.UTSMode,
    usernsMode: host.UsernsMode,
    cgroupnsMode: host.CgroupnsMode,
    cgroupParent: host.CgroupParent,
    sysctls: keysOf(host.Sysctls),
    pidsLimit: host.PidsLimit ?? 0,
    memoryBytes: host.Memory,
    /** Memory and swap together; -1 where the kernel counts no swap. */
    memorySwapBytes: host.MemorySwap ?? 0,
    oomKillDisable: host.OomKillDisable ?? false,
    oomScoreAdj: host.OomScoreAdj,
    nanoCpus: host.NanoCpus,
    cpuShares: host.CpuShares,
    ulimits: host.Ulimits.map(({ Name, Soft, Hard }) => `${Name} ${Soft}:${Hard}`),
    restartPolicy: host.RestartPolicy.Name,
    runtime: host.Runtime,
    /** Programs that were started through the engine: ours are not. */
    execs: of.ExecIDs.length,
  };
}

function engineFactsOf(info: z.infer<typeof engineInfo>) {
  return {
    version: info.ServerVersion,
    kernelRelease: info.KernelVersion,
    containers: info.Containers,
    securityOptions: info.SecurityOptions,
    defaultRuntime: info.DefaultRuntime ?? "",
    experimental: info.ExperimentalBuild,
    swarm: info.Swarm?.LocalNodeState ?? "",
  };
}

/** A port that an image names, and that nothing leads to, has the value null. */
function keysOf(value: Readonly<Record<string, unknown>> | null | undefined): string[] {
  const keys = Object.entries(value ?? {}).flatMap(([key, of]) => (of === null ? [] : [key]));
  return keys.slice(0, MAX_ITEMS).map((it) => printable(it).replaceAll(/[\n\t]/g, " "));
}

function read<T extends z.ZodType>(schema: T, value: unknown): z.infer<T> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const why = printable(z.prettifyError(result.error), 500).replaceAll("\n", " ");
  throw new GatewayError("CHANNEL_VIOLATION", `what the engine says of its container can't be read: ${why}`);
}
