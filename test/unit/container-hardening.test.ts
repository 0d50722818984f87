import { expect, test } from "vitest";
import { containerMemoryBytes, hardenedOptions } from "../../src/container/hardening.ts";
import { type Profile, profileSchema } from "../../src/policy/profile.ts";

const IMAGE = `sha256:${"a".repeat(64)}`;

function hardened(profile: Partial<Profile> = {}) {
  return hardenedOptions({
    hostname: "sandbox-1",
    image: IMAGE,
    profile: { ...profileSchema.parse({ resources: { memoryMiB: 2048, vcpus: 2, pids: 300 } }), ...profile },
  });
}

test("the container is exactly this, field by field", () => {
  expect(hardened()).toEqual({
    Image: IMAGE,
    Hostname: "sandbox-1",
    User: "1000:1000",
    WorkingDir: "/workspace",
    Entrypoint: ["/.glovebox/runner"],
    Cmd: [],
    Env: [
      "HOME=/home/agent",
      "USER=agent",
      "LANG=C.UTF-8",
      "PYTHONUNBUFFERED=1",
      "HTTP_PROXY=http://127.0.0.1:3128",
      "HTTPS_PROXY=http://127.0.0.1:3128",
      "http_proxy=http://127.0.0.1:3128",
      "https_proxy=http://127.0.0.1:3128",
      "NO_PROXY=localhost,127.0.0.1,::1",
      "no_proxy=localhost,127.0.0.1,::1",
      "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt",
      "REQUESTS_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt",
      "CURL_CA_BUNDLE=/etc/ssl/certs/ca-certificates.crt",
      "GIT_SSL_CAINFO=/etc/ssl/certs/ca-certificates.crt",
      "CARGO_HTTP_CAINFO=/etc/ssl/certs/ca-certificates.crt",
      "PIP_CERT=/etc/ssl/certs/ca-certificates.crt",
      "NODE_EXTRA_CA_CERTS=/.glovebox/extra-authorities.pem",
    ],
    Healthcheck: { Test: ["NONE"] },
    Tty: false,
    OpenStdin: false,
    AttachStdin: false,
    AttachStdout: false,
    AttachStderr: false,
    HostConfig: {
      Privileged: false,
      CapDrop: ["ALL"],
      SecurityOpt: ["no-new-privileges:true"],
      ReadonlyRootfs: true,
      Mounts: [
        { Type: "bind", Source: "/usr/libexec/glovebox/runner", Target: "/.glovebox/runner", ReadOnly: true },
        { Type: "bind", Source: "/run/glovebox/runner.sock", Target: "/.glovebox/runner.sock", ReadOnly: true },
        { Type: "bind", Source: "/usr/libexec/glovebox/inside", Target: "/.glovebox/inside", ReadOnly: true },
        {
          Type: "bind",
          Source: "/run/glovebox/authorities.pem",
          Target: "/etc/ssl/certs/ca-certificates.crt",
          ReadOnly: true,
        },
        {
          Type: "bind",
          Source: "/run/glovebox/extra-authorities.pem",
          Target: "/.glovebox/extra-authorities.pem",
          ReadOnly: true,
        },
        { Type: "volume", Source: "", Target: "/workspace" },
        { Type: "volume", Source: "", Target: "/home/agent" },
        { Type: "volume", Source: "", Target: "/tmp" },
      ],
      Devices: [],
      NetworkMode: "none",
      PidMode: "",
      UTSMode: "",
      UsernsMode: "",
      IpcMode: "private",
      CgroupnsMode: "private",
      Init: false,
      PidsLimit: 300,
      Memory: containerMemoryBytes(2048),
      MemorySwap: containerMemoryBytes(2048),
      OomKillDisable: false,
      OomScoreAdj: -998,
      NanoCpus: 1_900_000_000,
      Ulimits: [
        { Name: "nofile", Soft: 16_384, Hard: 16_384 },
        { Name: "core", Soft: 0, Hard: 0 },
      ],
      LogConfig: { Type: "none", Config: {} },
      RestartPolicy: { Name: "no" },
      AutoRemove: false,
    },
  });
});

test("a writable root is all that a profile can loosen, and it loosens nothing else", () => {
  const loose = hardened({ writableRoot: true });
  expect(loose.HostConfig.ReadonlyRootfs).toBe(false);
  expect({ ...loose, HostConfig: { ...loose.HostConfig, ReadonlyRootfs: true } }).toEqual(hardened());
});

test.each([512, 1024, 65_536])("a machine of %i MiB keeps memory for its kernel and engine", (machineMiB) => {
  const bytes = containerMemoryBytes(machineMiB);
  expect(Number.isInteger(bytes)).toBe(true);
  expect(machineMiB * 1_048_576 - bytes).toBeGreaterThanOrEqual(256 * 1_048_576);
  expect(bytes).toBeGreaterThan((machineMiB * 1_048_576) / 3);
});
