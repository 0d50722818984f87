import fc from "fast-check";
import { expect, test } from "vitest";
import { LAYERS, type LayerName } from "../../src/policy/layer.ts";
import { mergeProfiles, mergeStatements, type StatedProfile } from "../../src/policy/merge-profile.ts";
import { PROFILE_RULES } from "../../src/policy/merge-table.ts";
import { vouchedFor } from "../../src/policy/merge-vouched.ts";
import { type Profile, profileSchema } from "../../src/policy/profile.ts";
import { boundTo, COMPARED, privateOf, widerKeys } from "../support/narrower.ts";
import { statedProfiles } from "../support/stated-profiles.ts";

const layers = fc
  .tuple(fc.subarray([...LAYERS], { minLength: 1 }), fc.array(statedProfiles, { minLength: 4, maxLength: 4 }))
  .map(([names, profiles]) => names.map((name, at): StatedProfile => ({ name, stated: profiles[at] })));

/** `resources.memoryMiB`, …: keys that are stated; with `packages` go those that it implies. */
function keysOf(stated: unknown, path = ""): string[] {
  if (typeof stated !== "object" || stated === null || Array.isArray(stated)) return [path];
  const below = Object.entries(stated).flatMap(([key, value]) => keysOf(value, path === "" ? key : `${path}.${key}`));
  const implied = ["minimumAgeHours", "vulnerable", "unverified", "buildsFromSource"].map((it) => `packages.${it}`);
  return [path, ...below, ...(path === "packages" ? implied : [])];
}

test("what layers come to is as narrow as each of them in all that it states, and is a profile [G27]", () => {
  fc.assert(
    fc.property(layers, (them) => {
      const { profile } = mergeProfiles(them);
      for (const { stated } of them) {
        expect(widerKeys(profile, profileSchema.parse(stated), new Set(keysOf(stated)))).toEqual([]);
      }
    }),
    { numRuns: 100 },
  );
});

test("secrets and private places are exactly what all layers that state them admit", () => {
  const all = (them: readonly StatedProfile[], key: string, of: (profile: Profile) => Set<string>) =>
    vouchedFor(them)
      .layers.filter(({ stated }) => keysOf(stated).includes(key))
      .map(({ stated }) => of(profileSchema.parse(stated)))
      .reduce<Set<string> | undefined>((common, it) => common?.intersection(it) ?? it, undefined) ?? new Set();
  fc.assert(
    fc.property(layers, (them) => {
      const { profile } = mergeProfiles(them);
      expect(boundTo(profile.secrets)).toEqual(all(them, "secrets", (it) => boundTo(it.secrets)));
      expect(privateOf(profile)).toEqual(all(them, "egress.private", privateOf));
    }),
    { numRuns: 60 },
  );
});

test("merging is idempotent and associative, and the list's order makes no difference", () => {
  const at = (name: LayerName, stated: unknown): StatedProfile => ({ name, stated });
  const of = (...them: readonly StatedProfile[]) => mergeStatements(them).stated;
  fc.assert(
    fc.property(statedProfiles, statedProfiles, statedProfiles, (a, b, c) => {
      const [first, second, third] = [at("organisation", a), at("team", b), at("user", c)];
      expect(sorted(of(at("organisation", of(first, second)), third))).toEqual(sorted(of(first, second, third)));
      expect(sorted(of(first, at("team", of(at("team", b), third))))).toEqual(sorted(of(first, second, third)));
      const twice = of(first, at("team", a));
      expect(sorted(of(at("organisation", twice), at("team", twice)))).toEqual(sorted(twice));
      expect(widerKeys(profileOf(of(first)), profileOf(twice), new Set(keysOf(a)))).toEqual([]);
      expect(mergeProfiles([third, first, second])).toEqual(mergeProfiles([first, second, third]));
    }),
    { numRuns: 40 },
  );
});

/** The order of layers decides of what an outermost layer decides, and of nothing else. */
const BY_OUTERMOST = /^(image|audit\.|egress\.hosts\.|packages\.(apt|registries))/;

test("lower layers in another order come to the same, but for what the outermost decides", () => {
  const without = (stated: unknown): unknown =>
    JSON.parse(
      JSON.stringify(stated, (key, value) =>
        /^(image|audit|hosts|apt|registries|source|present)$/.test(key) && !Array.isArray(value) ? undefined : value,
      ),
    );
  fc.assert(
    fc.property(statedProfiles, statedProfiles, statedProfiles, (a, b, c) => {
      const of = (...them: readonly unknown[]) =>
        without(mergeStatements(them.map((stated, index) => ({ name: LAYERS[index] ?? "user", stated }))).stated);
      expect(sorted(of(a, b, c))).toEqual(sorted(of(a, c, b)));
    }),
    { numRuns: 60 },
  );
});

test("the outermost layer that states it decides, and a lower one's other word is told", () => {
  fc.assert(
    fc.property(layers, (them) => {
      const { stated, origin, problems } = mergeStatements(them);
      for (const [path, layer] of origin) {
        if (!BY_OUTERMOST.test(path)) continue;
        expect(them.find((it) => keysOf(it.stated).includes(path))?.name).toBe(layer);
      }
      const images = them.flatMap((it) => (keysOf(it.stated).includes("image") ? [{ ...it }] : []));
      expect(stated["image"]).toEqual((images[0]?.stated as { image?: string } | undefined)?.image);
      const others = images.filter((it) => (it.stated as { image?: string }).image !== stated["image"]);
      expect(problems.filter((it) => it.path === "image").map((it) => it.layer)).toEqual(others.map((it) => it.name));
    }),
    { numRuns: 60 },
  );
});

test("one layer alone is itself, but for what stands for its own Cedar policies", () => {
  fc.assert(
    fc.property(statedProfiles, (stated) => {
      const { profile, problems } = mergeProfiles([{ name: "user", stated }]);
      const own = profileSchema.parse(stated);
      const packages = own.packages && { ...own.packages, allow: [] };
      expect(problems).toEqual([]);
      expect(sorted(profile)).toEqual(
        sorted({ ...own, egress: { ...own.egress, allow: [], groups: [] }, ...(packages && { packages }) }),
      );
    }),
    { numRuns: 40 },
  );
  expect(mergeProfiles([{ name: "user", stated: undefined }]).profile).toEqual(profileSchema.parse({}));
});

test("every key of a profile has a rule, and every rule but those of the outermost is compared here", () => {
  const known = (node: typeof PROFILE_RULES, path: string): string[] =>
    node.kind === "section"
      ? Object.entries(node.keys).flatMap(([key, below]) => known(below, path === "" ? key : `${path}.${key}`))
      : [path];
  const rules = known(PROFILE_RULES, "");
  const all = profileSchema.parse({
    packages: { licenses: ["MIT"], maximumAdvisoryAgeHours: 1, apt: { suites: ["sid"] } },
  });
  const keys = Object.entries(all).flatMap(([key, value]) =>
    value !== null && typeof value === "object" && !Array.isArray(value)
      ? Object.keys(value).map((below) => `${key}.${below}`)
      : [key],
  );
  for (const key of keys)
    expect(
      rules.some((it) => it === key || key.startsWith(`${it}.`) || it.startsWith(`${key}.`)),
      key,
    ).toBe(true);
  const others = rules.filter((it) => !COMPARED.some((key) => key === it || key.startsWith(`${it}.`)));
  expect(others.toSorted()).toEqual([
    "audit.bodies",
    "audit.redact",
    "audit.retention",
    "egress.allow",
    "egress.groups",
    "egress.hosts",
    "image",
    "packages.allow",
    "packages.apt.components",
    "packages.apt.suites",
    "packages.registries",
  ]);
});

test("a secret that a lower layer narrows away is not sent to a registry that stays", () => {
  const registries = { npm: [{ url: "https://npm.example.org/", secret: "S" }] };
  const secret = (host: string) => [{ name: "S", source: { env: "S" }, hosts: [{ host }] }];
  const merged = mergeProfiles([
    { name: "organisation", stated: { secrets: secret("*.example.org"), packages: { registries } } },
    { name: "user", stated: { secrets: secret("other.example.org") } },
  ]);
  expect(merged.profile.packages?.registries.npm).toMatchObject([{ url: "https://npm.example.org/" }]);
  expect(merged.profile.packages?.registries.npm?.[0]).not.toHaveProperty("secret");
  expect(merged.problems).toMatchObject([{ path: "packages.registries.npm", layer: "organisation" }]);
});

test("a lower layer can't say where a name leads that an upper one lets into the private network", () => {
  const outer = { name: "organisation" as const, stated: { egress: { private: ["db.acme.test"] } } };
  const hosts = { "db.acme.test": "127.0.0.1", "www.acme.test": "192.0.2.1" };
  const merged = mergeProfiles([outer, { name: "user", stated: { egress: { hosts } } }]);
  expect(merged.profile.egress.hosts).toEqual({ "www.acme.test": "192.0.2.1" });
  expect(merged.problems).toMatchObject([{ path: "egress.hosts.db.acme.test", layer: "user" }]);
  expect(merged.origin.has("egress.hosts.db.acme.test")).toBe(false);
  const own = mergeProfiles([{ name: "organisation", stated: { egress: { private: ["db.acme.test"], hosts } } }]);
  expect(own.profile.egress.hosts).toEqual(hosts);
});

test("an empty list of patterns in common lets nothing through, and not everything", () => {
  const mount = (include: string[]) => ({ mounts: [{ name: "m", host: "/srv/w", include }] });
  const of = (a: string[], b: string[]) =>
    mergeProfiles([
      { name: "team", stated: mount(a) },
      { name: "user", stated: mount(b) },
    ]);
  expect(of(["a"], ["b"]).profile.mounts).toEqual([]);
  expect(of(["a"], ["b"]).problems).toMatchObject([{ path: "mounts", layer: "user" }]);
  expect(of([], ["b"]).profile.mounts).toMatchObject([{ include: ["b"] }]);
  expect(of(["a", "b"], ["b", "c"]).profile.mounts).toMatchObject([{ include: ["b"] }]);
});

test("the layer that a value comes from is the last that narrowed it", () => {
  const { origin } = mergeProfiles([
    { name: "organisation", stated: { resources: { memoryMiB: 2048, vcpus: 2 } } },
    { name: "team", stated: { resources: { memoryMiB: 4096 } } },
    { name: "user", stated: { resources: { memoryMiB: 1024, vcpus: 4 }, writableRoot: true } },
  ]);
  expect(Object.fromEntries(origin)).toEqual({
    "resources.memoryMiB": "user",
    "resources.vcpus": "organisation",
    writableRoot: "user",
  });
});

test("statements that fit one by one, and not together, are refused", () => {
  const many = (from: number) => Array.from({ length: 200 }, (_, at) => `p${from + at}`);
  const mount = (exclude: string[]) => ({ mounts: [{ name: "m", host: "/srv/w", exclude }] });
  expect(() =>
    mergeProfiles([
      { name: "team", stated: mount(many(0)) },
      { name: "user", stated: mount(many(200)) },
    ]),
  ).toThrow(expect.objectContaining({ code: "POLICY_INVALID", message: expect.stringContaining("mounts.0.exclude") }));
});

function profileOf(stated: unknown): Profile {
  return mergeProfiles([{ name: "user", stated }]).profile;
}

/** Lists are sets here. */
function sorted(value: unknown): unknown {
  if (value instanceof Map) return sorted([...value]);
  if (Array.isArray(value))
    return value.map(sorted).toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .toSorted(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, it]) => [key, sorted(it)]),
  );
}

test("a project narrows what others state, and states nothing by itself that reaches this computer [G27]", () => {
  const secrets = [{ name: "S", source: { command: ["/bin/sh", "-c", "id"] }, hosts: [{ host: "example.org" }] }];
  const registries = { npm: [{ url: "https://npm.example.org/" }] };
  const project = {
    mounts: [{ name: "home", host: "~/other", mode: "rw" }],
    secrets,
    egress: { private: ["db.example.org"], hosts: { "db.example.org": "127.0.0.1" } },
    isolation: { floor: "shared-kernel" },
    writableRoot: true,
    audit: { redact: ["argv"], retention: { recordDays: 1 } },
    packages: { allow: ["npm:*"], registries },
    resources: { memoryMiB: 512 },
  };
  const alone = mergeProfiles([
    { name: "project", stated: project },
    { name: "user", stated: {} },
  ]);
  expect(alone.profile).toMatchObject({
    mounts: [],
    secrets: [],
    writableRoot: false,
    isolation: { floor: "microvm" },
  });
  expect(alone.profile.egress).toMatchObject({ private: [], hosts: {} });
  expect(alone.profile.packages?.registries).toEqual({});
  expect(alone.profile.resources.memoryMiB).toBe(512);
  expect(alone.profile.audit).toEqual({ redact: [], bodies: "off", retention: {} });
  expect(alone.problems.map((it) => it.path).sort()).toEqual([
    "audit",
    "egress.hosts",
    "egress.private",
    "isolation.floor",
    "mounts",
    "packages.registries",
    "secrets",
    "writableRoot",
  ]);
  const theirs = { name: "S", source: { env: "S" }, hosts: [{ host: "*.example.org" }, { host: "example.org" }] };
  const user = { secrets: [theirs], packages: { registries: { npm: [{ url: "https://mirror.example.org/" }] } } };
  const shared = mergeProfiles([
    { name: "project", stated: project },
    { name: "user", stated: user },
  ]).profile;
  expect(shared.secrets.map((it) => it.hosts.map(({ host }) => host))).toEqual([["example.org"]]);
  expect(shared.secrets[0]?.source).toEqual({ env: "S" });
  expect(shared.packages?.registries.npm).toMatchObject([{ url: "https://mirror.example.org/" }]);
});
