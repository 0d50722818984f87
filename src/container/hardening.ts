import type { ContainerSpec } from "./container.ts";

/** The agent's user and group. By number: an organisation's own image need not know the name. */
export const AGENT_ID = 1000;
export const AGENT_USER = `${AGENT_ID}:${AGENT_ID}`;

/** Where Debian, and most others, have the system's own list. */
const AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt";
const EXTRA_AUTHORITIES = "/.glovebox/extra-authorities.pem";

/** Of the guest agent (`guest/agent/network.go`), on the container's loopback. */
const PROXY = "http://127.0.0.1:3128";
const NOT_PROXIED = "localhost,127.0.0.1,::1";

/**
 * How programs find the proxy and know whose certificates to accept. Those that read none of it get out all the same, by way of the
 * system's list where they use that.
 */
const NETWORK_ENVIRONMENT = [
  ...["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"].map((name) => `${name}=${PROXY}`),
  ...["NO_PROXY", "no_proxy"].map((name) => `${name}=${NOT_PROXIED}`),
  // OpenSSL with all that rests on it; libraries that bring a list of their own; curl, git, cargo and pip, in images that keep the system's elsewhere.
  ...["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "GIT_SSL_CAINFO", "CARGO_HTTP_CAINFO", "PIP_CERT"].map(
    (name) => `${name}=${AUTHORITIES}`,
  ),
  // Node adds these to its own.
  `NODE_EXTRA_CA_CERTS=${EXTRA_AUTHORITIES}`,
];

/**
 * What of ours is in the container, by where the guest has it: its first process (`guest/runner`), the socket by which that calls
 * the guest agent once, the witness of the attestation (`guest/inside`), and whose certificates programs accept
 * (`guest/agent/trust.go`).
 */
const OURS = {
  "/usr/libexec/glovebox/runner": "/.glovebox/runner",
  "/run/glovebox/runner.sock": "/.glovebox/runner.sock",
  "/usr/libexec/glovebox/inside": "/.glovebox/inside",
  "/run/glovebox/authorities.pem": AUTHORITIES,
  "/run/glovebox/extra-authorities.pem": EXTRA_AUTHORITIES,
} as const;

/** Directories that can always be written: volumes, so that they lie on disk and the archive calls see them (it sees no tmpfs). */
export const WRITABLE_DIRECTORIES = [
  { path: "/workspace", mode: 0o755, owner: AGENT_ID },
  { path: "/home/agent", mode: 0o755, owner: AGENT_ID },
  { path: "/tmp", mode: 0o1777, owner: 0 },
] as const;

/** What the machine's kernel, its Docker engine and our agent keep for themselves, so that no container starves them. */
const RESERVED_BYTES = 256 * 1024 * 1024;
const RESERVED_SHARE = 1 / 16;
const RESERVED_CPUS = 0.1;

/**
 * crun gives this score to the container's first process only; a program that is started later keeps the shim's, which is one
 * above its containerd's -999. With any higher score the first process would be killed in the place of the one that took the
 * memory, and the sandbox would end. With the same score the biggest goes.
 */
const OOM_SCORE_ADJ = -998;

/**
 * The whole of what the container is made from: a pure function of the machine's name and the organisation's profile. Nothing in it
 * comes from a model. Everything the image could set that would weaken it (user, entry point, health check) is overridden;
 * `engine/attest.ts` checks from inside that it holds.
 */
export function hardenedOptions({ hostname, image, profile }: ContainerSpec) {
  const memoryBytes = containerMemoryBytes(profile.resources.memoryMiB);
  return {
    Image: image,
    Hostname: hostname,
    User: AGENT_USER,
    WorkingDir: "/workspace",
    Entrypoint: [OURS["/usr/libexec/glovebox/runner"]],
    Cmd: [],
    // PATH is the image's. Unbuffered, so that a person sees a program's output while it runs.
    Env: ["HOME=/home/agent", "USER=agent", "LANG=C.UTF-8", "PYTHONUNBUFFERED=1", ...NETWORK_ENVIRONMENT],
    Healthcheck: { Test: ["NONE"] },
    Tty: false,
    OpenStdin: false,
    AttachStdin: false,
    AttachStdout: false,
    AttachStderr: false,
    HostConfig: {
      Privileged: false,
      CapDrop: ["ALL"],
      // The engine's default seccomp filter applies because none is named here.
      SecurityOpt: ["no-new-privileges:true"],
      ReadonlyRootfs: !profile.writableRoot,
      Mounts: [
        ...Object.entries(OURS).map(([Source, Target]) => ({ Type: "bind" as const, Source, Target, ReadOnly: true })),
        ...WRITABLE_DIRECTORIES.map(({ path }) => ({ Type: "volume" as const, Source: "", Target: path })),
      ],
      Devices: [],
      NetworkMode: "none",
      PidMode: "",
      UTSMode: "",
      UsernsMode: "",
      IpcMode: "private",
      CgroupnsMode: "private",
      Init: false,
      PidsLimit: profile.resources.pids,
      Memory: memoryBytes,
      // Equal to Memory: no swap.
      MemorySwap: memoryBytes,
      OomKillDisable: false,
      OomScoreAdj: OOM_SCORE_ADJ,
      NanoCpus: Math.round((profile.resources.vcpus - RESERVED_CPUS) * 1e9),
      Ulimits: [
        { Name: "nofile", Soft: 16_384, Hard: 16_384 },
        { Name: "core", Soft: 0, Hard: 0 },
      ],
      LogConfig: { Type: "none", Config: {} },
      RestartPolicy: { Name: "no" },
      AutoRemove: false,
    },
  };
}

/** The container's share of its machine's memory. */
export function containerMemoryBytes(machineMiB: number): number {
  const machineBytes = machineMiB * 1024 * 1024;
  return Math.floor(machineBytes * (1 - RESERVED_SHARE)) - RESERVED_BYTES;
}
