import fc from "fast-check";
import { profileSchema } from "../../src/policy/profile.ts";

/** Few values of each kind, so that layers agree and disagree often. */
const some = <T>(...values: readonly T[]) => fc.constantFrom(...values);
const subset = <T>(values: readonly T[], minLength = 0) => fc.subarray([...values], { minLength });

export const FOLDERS = ["/srv/w", "/srv/w/a", "/srv/w/a/b", "/srv/x", "~/w"];
export const PATTERNS = ["a", "b", "*.md", "/src"];
const mounts = fc.uniqueArray(
  fc.record(
    {
      name: some("m", "n"),
      host: some(...FOLDERS),
      mode: some("ro", "rw"),
      include: subset(PATTERNS),
      exclude: subset(PATTERNS),
      allowSensitive: subset([".env", ".npmrc"]),
    },
    { requiredKeys: ["name", "host"] },
  ),
  { selector: (it) => it.name, maxLength: 2 },
);

export const SECRET_HOSTS = ["api.example.org", "*.example.org", "*.b.example.org", "c.b.example.org", "x.example.com"];
const secretHosts = fc.record(
  {
    host: some(...SECRET_HOSTS),
    ports: subset([443, 8443], 1),
    paths: subset(["/", "/a", "/a/b", "/ab", "/a/"], 1),
    methods: subset(["GET", "POST"], 1),
  },
  { requiredKeys: ["host"] },
);
const secrets = fc.uniqueArray(
  fc.record(
    {
      name: some("S", "T"),
      source: some({ env: "A" }, { env: "B" }, { file: "/run/s" }),
      hosts: fc.array(secretHosts, { minLength: 1, maxLength: 3 }),
      present: some({ as: "bearer" as const }, { as: "header" as const, name: "x-key" }),
      refreshMs: some(1000, 2000),
    },
    { requiredKeys: ["name", "source", "hosts"] },
  ),
  { selector: (it) => it.name, maxLength: 2 },
);

export const PRIVATE = [
  "db.acme.test",
  "10.0.0.0/8",
  "10.1.0.0/16",
  "10.1.2.3",
  "192.168.0.0/16",
  "fd00:1::/64",
  "fd00:1::/32",
];
const egress = fc.record(
  {
    allow: subset(["example.org", "*.example.com"]),
    private: subset(PRIVATE),
    onExfiltration: some("refuse", "end-session"),
    hosts: fc.dictionary(some("db.acme.test", "a.acme.test"), some("10.1.2.3", "127.0.0.1")),
  },
  { requiredKeys: [] },
);

export const LICENSES = ["MIT", "ISC", "Apache-2.0"];
const packages = fc.record(
  {
    allow: subset(["npm:*", "npm:left-pad"]),
    deny: subset(["npm:a", "npm:b"]),
    minimumAgeHours: fc.oneof(
      some(0, 72, 100),
      fc.record({ default: some(1, 90), npm: some(0, 80), apt: some(0, 200) }, { requiredKeys: [] }),
    ),
    pin: fc.dictionary(some("npm:x", "npm:y"), fc.oneof(some("^1.0.0", "<1.5"), subset(["^1.0.0", ">1.1"], 1))),
    installScripts: fc.oneof(some("deny", "allow"), subset(["a", "b", "c"])),
    licenses: subset(LICENSES, 1),
    vulnerable: some("allow", "deny"),
    unverified: some("allow", "deny"),
    buildsFromSource: some("allow", "deny"),
    maximumAdvisoryAgeHours: some(5, 50),
    apt: fc.record(
      { suites: subset(["trixie", "sid"], 1), components: subset(["main", "contrib"], 1) },
      { requiredKeys: [] },
    ),
    registries: fc.dictionary(
      some("npm", "pip"),
      fc
        .record(
          { url: some("https://api.example.org/", "https://c.b.example.org/"), secret: some("S", "T") },
          { requiredKeys: ["url"] },
        )
        .map((it) => [it]),
    ),
  },
  { requiredKeys: [] },
);

const section = (names: readonly string[], values: readonly number[]) =>
  fc.record(Object.fromEntries(names.map((it) => [it, some(...values)])), { requiredKeys: [] });

/** What a layer's `profile.yaml` could hold. */
export const statedProfiles: fc.Arbitrary<Readonly<Record<string, unknown>>> = fc
  .record(
    {
      image: some("default", "tools"),
      isolation: fc.record({ floor: some("shared-kernel", "userspace-kernel", "microvm") }, { requiredKeys: [] }),
      resources: section(["memoryMiB", "diskMiB"], [4096, 5000, 9000]),
      timeouts: section(["execMs", "maxExecMs", "yieldMs", "idleMs", "hibernateMs"], [1000, 2000, 60_000]),
      output: section(["maxBytes", "retainBytes"], [1024, 4096]),
      files: section(["maxReadBytes", "maxTransferBytes"], [1024, 4096]),
      limits: section(["sessions", "processes"], [1, 2, 9]),
      snapshots: section(["count", "totalMiB"], [0, 1, 9]),
      budgets: fc.record(
        {
          principal: section(["callsPerHour", "sessions"], [1, 2, 9]),
          session: section(["egressMiBPerDay"], [1, 2, 9]),
        },
        { requiredKeys: [] },
      ),
      logging: section(["maxLagSeconds", "maxLagRecords"], [1, 60, 9000]),
      audit: fc.record(
        {
          redact: fc.subarray(["customerId", "argv", "ssn"]),
          bodies: some("off", "encrypted"),
          retention: section(["bodyDays", "recordDays"], [1, 30, 365]),
        },
        { requiredKeys: [] },
      ),
      mounts,
      egress,
      packages,
      secrets,
      writableRoot: fc.boolean(),
    },
    { requiredKeys: [] },
  )
  .filter((it) => profileSchema.safeParse(it).success);
