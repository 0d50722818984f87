import { z } from "zod";
import { auditSchema } from "./audit.ts";
import { budgetsSchema } from "./budget-schema.ts";
import { egressSchema } from "./egress.ts";
import { loggingSchema } from "./logging.ts";
import { mountsSchema } from "./mount.ts";
import { packagesSchema } from "./packages.ts";
import { profileSecrets } from "./profile-secrets.ts";

/** Strongest last. The order is the meaning: a floor admits its own level and those after it. */
export const ISOLATION_LEVELS = ["shared-kernel", "userspace-kernel", "microvm"] as const;
export type IsolationLevel = (typeof ISOLATION_LEVELS)[number];

const count = (min: number, max: number, initial: number) => z.int().min(min).max(max).default(initial);

/** The shape of a sandbox: a bundle's `profile.yaml`. Every key may be left out; an unknown one is an error. */
const shape = z.strictObject({
  /** Name of an agent image in the image store. */
  image: z
    .string()
    .regex(/^[a-z0-9][a-z0-9._-]{0,63}$/)
    .default("default"),
  isolation: z.strictObject({ floor: z.enum(ISOLATION_LEVELS).default("microvm") }).prefault({}),
  resources: z
    .strictObject({
      memoryMiB: count(512, 1_048_576, 1024),
      vcpus: count(1, 64, 2),
      diskMiB: count(4096, 1_048_576, 8192),
      pids: count(16, 32_768, 512),
    })
    .prefault({}),
  timeouts: z
    .strictObject({
      /** A run that gives no `timeoutMs` ends after this. */
      execMs: count(1000, 86_400_000, 600_000),
      /** The longest `timeoutMs` a call may ask for. */
      maxExecMs: count(1000, 86_400_000, 3_600_000),
      /** A foreground run that lasts longer is handed back as a process to read on (clients give up at 60 s). */
      yieldMs: count(1000, 600_000, 45_000),
      /** A session that nobody has called for so long is closed. */
      idleMs: count(1000, 604_800_000, 14_400_000),
      /** Before that: after so long its sandbox is written to disk and takes no memory; the next call brings it back. */
      hibernateMs: count(1000, 604_800_000, 1_800_000),
    })
    .prefault({}),
  output: z
    .strictObject({
      /** The most bytes of each output stream in one result. */
      maxBytes: count(1024, 10_485_760, 65_536),
      /** The most bytes of each output stream kept for `readProcess`. */
      retainBytes: count(1024, 67_108_864, 1_048_576),
      /** A run whose two streams carry more than this together is ended (`output-limit`). */
      limitBytes: count(1_048_576, 1_099_511_627_776, 4_294_967_296),
    })
    .prefault({}),
  files: z
    .strictObject({
      maxReadBytes: count(1024, 268_435_456, 16_777_216),
      maxWriteBytes: count(1024, 268_435_456, 16_777_216),
      /** The most bytes, and the most files, directories and links, of one import or export. */
      maxTransferBytes: count(1024, 1_099_511_627_776, 1_073_741_824),
      maxTransferFiles: count(1, 1_000_000, 50_000),
    })
    .prefault({}),
  mounts: mountsSchema,
  /** Of one principal: each holds a sandbox's memory and disk. */
  snapshots: z.strictObject({ count: count(0, 256, 8), totalMiB: count(0, 16_777_216, 16_384) }).prefault({}),
  limits: z.strictObject({ sessions: count(1, 256, 4), processes: count(1, 1024, 32) }).prefault({}),
  /** What the sandbox may reach; nothing without it. */
  egress: egressSchema.prefault({}),
  /** Which packages may enter it; without this there is no way to a registry but what `egress` grants. */
  packages: packagesSchema.optional(),
  /** How much may be used: without this there is no limit but the others of the profile. Compiled to Cedar (`budget-policies.ts`). */
  budgets: budgetsSchema.optional(),
  /** How far central logging may be behind before new calls are denied. Compiled to Cedar (`logging-policies.ts`). */
  logging: loggingSchema.optional(),
  /** What the audit log keeps, and for how long. */
  audit: auditSchema.prefault({}),
  /** What the sandbox's programs may use without having it. */
  secrets: profileSecrets.default([]),
  /** Whether the container's root file system can be written; the machine confines it all the same. */
  writableRoot: z.boolean().default(false),
});

export const profileSchema = shape.superRefine(({ packages, secrets }, context) => {
  for (const [ecosystem, sources] of Object.entries(packages?.registries ?? {})) {
    for (const [index, { url, secret }] of sources.entries()) {
      const problem = secret === undefined ? undefined : registrySecretProblem(new URL(url), secrets, secret);
      if (problem === undefined) continue;
      context.addIssue({
        code: "custom",
        path: ["packages", "registries", ecosystem, index, "secret"],
        message: problem,
      });
    }
  }
});

/** A registry that could not be asked for want of its secret would be found out at the first installation. */
export function registrySecretProblem(
  url: URL,
  secrets: z.infer<typeof profileSecrets>,
  name: string,
): string | undefined {
  const secret = secrets.find((it) => it.name === name);
  if (!secret) return `there is no secret ${name} in the profile`;
  if (url.protocol !== "https:") return `the secret ${name} goes by HTTPS only`;
  if (secret.present?.as === "query") return `the secret ${name} goes into a query, where no registry reads it`;
  const port = Number(url.port || 443);
  const isBound = secret.hosts.some(
    ({ host, ports }) =>
      ports.includes(port) &&
      (host === url.hostname || (host.startsWith("*.") && url.hostname.endsWith(host.slice(1)))),
  );
  return isBound ? undefined : `the secret ${name} is not bound to ${url.hostname}:${port}`;
}

export type Profile = z.infer<typeof profileSchema>;
