import {
  chmodSync,
  chownSync,
  lchownSync,
  mkdirSync,
  mkdtempSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { checkEnrolment, forgetEnrolment, readEnrolment, rememberEnrolment } from "../../src/policy/enrolment.ts";
import { loadSettings, SYSTEM_DIRECTORY } from "../../src/settings.ts";
import { userFilePlace } from "../../src/settings-user.ts";
import { newKey } from "../support/signed-bundle.ts";

const isRoot = process.getuid?.() === 0;
/** What root owns can be made by root alone. */
const asRoot = isRoot ? test : test.skip;
if (!isRoot) console.warn("skipped: what the system's settings must be can only be tried out as root");

/** Below a place where only root may write: the temporary directory is not one. */
function scratch(): string {
  const directory = mkdtempSync(join(homedir(), ".glovebox-settings-"));
  chmodSync(directory, 0o755);
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

function write(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  writeFileSync(path, text, { mode: 0o644 });
}

const KEY = newKey().public;

const ACME = "organisation:\n  name: Acme\n  policy: policy\n";

interface Files {
  readonly system?: string;
  readonly user?: string;
  readonly env?: NodeJS.ProcessEnv;
  readonly policy?: string;
}

function stand({ system, user, env = {}, policy }: Files) {
  const directory = scratch();
  const [systemDirectory, home] = [join(directory, "etc", "glovebox"), join(directory, "home")];
  if (system !== undefined) write(join(systemDirectory, "glovebox.yaml"), system);
  if (user !== undefined) write(join(home, ".config", "glovebox", "glovebox.yaml"), user);
  const load = () =>
    loadSettings({
      systemDirectory,
      user: userFilePlace(undefined, env, home),
      ...(policy !== undefined && { policy: { directory: policy, statedIn: "--policy" } }),
      defaultPolicy: "/shipped/default",
    });
  return { directory, systemDirectory, home, load };
}

test("without any file there is the user's layer alone, with the bundle that ships", async () => {
  const { load } = stand({});
  expect(await load()).toEqual({
    layers: [
      {
        name: "user",
        source: { directory: "/shipped/default" },
        trust: {},
        statedIn: "what Glovebox comes with",
        ownedByRoot: false,
      },
    ],
    sinks: [],
    warnings: [],
  });
});

asRoot("layers come outermost first, each with its place; the option wins over the user's file alone", async () => {
  const user = `team: { policy: { git: "https://git.example.org/policy", commit: ${"a".repeat(40)}, path: team } }
project:
  policy: ../project
  keys: ["${KEY.line}"]
  bundle: checkout
  minimumVersion: 1.2.0
user: { policy: ~/mine }
pollSeconds: 60
`;
  const { load, home, systemDirectory } = stand({ system: `${ACME}  minimumVersion: 2.0.0\n`, user });
  const { organisation, layers, pollSeconds } = await load();
  expect([organisation, pollSeconds]).toEqual(["Acme", 60]);
  expect(layers).toMatchObject([
    {
      name: "organisation",
      source: { directory: join(systemDirectory, "policy") },
      trust: { minimumVersion: "2.0.0" },
      ownedByRoot: true,
    },
    {
      name: "team",
      source: { git: "https://git.example.org/policy", commit: "a".repeat(40), path: "team" },
      trust: {},
    },
    {
      name: "project",
      source: { directory: join(home, ".config", "project") },
      trust: { keys: [{ id: KEY.id }], name: "checkout", minimumVersion: "1.2.0" },
      ownedByRoot: false,
    },
    { name: "user", source: { directory: join(home, "mine") } },
  ]);
  const other = stand({ system: ACME, user, policy: "/named" });
  const named = await other.load();
  expect(named.layers.map((it) => it.name)).toEqual(["organisation", "team", "project", "user"]);
  expect(named.layers.at(-1)).toMatchObject({ source: { directory: "/named" }, statedIn: "--policy" });
});

asRoot("what the system's file states of team, approvals and polling holds, and the user is told", async () => {
  const system = `${ACME}team: { policy: /srv/team }\napprovals: { a: 1 }\npollSeconds: 300\n`;
  const { load, home, systemDirectory } = stand({
    system,
    user: "team: { policy: mine }\napprovals: { b: 2 }\npollSeconds: 10\n",
  });
  const settings = await load();
  expect(settings.layers.find((it) => it.name === "team")).toMatchObject({
    source: { directory: "/srv/team" },
    ownedByRoot: true,
  });
  expect(settings.approvals).toEqual({ stated: { a: 1 }, statedIn: join(systemDirectory, "glovebox.yaml") });
  expect(settings.pollSeconds).toBe(300);
  const file = join(home, ".config", "glovebox", "glovebox.yaml");
  expect(settings.warnings).toEqual(
    ["team", "approvals", "pollSeconds"].map(
      (it) => `\`${it}\` of ${file} does not hold: ${join(systemDirectory, "glovebox.yaml")} states it`,
    ),
  );
});

asRoot("approvals that the user states on an organisation's computer are known to be the user's own", async () => {
  const user = "approvals: { b: 2 }\n";
  expect((await stand({ system: ACME, user }).load()).approvals).toMatchObject({ stated: { b: 2 }, usersOwn: true });
  expect((await stand({ user }).load()).approvals).not.toHaveProperty("usersOwn");
});

test("mistakes in the user's file are told with their places", async () => {
  const { load, home } = stand({
    user: "organisation: { name: Me, policy: /mine }\nteams: {}\nproject: { policy: { directory: /a, url: 'https://x.example' } }\nuser: { policy: { directory: x, ref: main } }\n",
  });
  const file = join(home, ".config", "glovebox", "glovebox.yaml");
  const error = await load().catch((it: unknown) => it);
  expect(error).toMatchObject({ code: "CONFIG_INVALID" });
  const lines = String((error as Error).message).split("\n");
  expect(lines).toEqual(
    expect.arrayContaining([
      `${file}:1:15: organisation: only the system's file, which is root's, can name an organisation`,
      `${file}:3:20: project.policy: must have one of \`directory\`, \`git\` and \`url\``,
      `${file}:4:17: user.policy: \`commit\`, \`ref\` and \`path\` belong to \`git\``,
      `${file}:2:8: teams: Unrecognized key: "teams"; fix: remove it, or correct its spelling`,
    ]),
  );
});

test.each([
  ["an option for git", "team: { policy: { git: --upload-pack=x } }", "must be a URL such as"],
  ["a path that climbs", "team: { policy: { git: 'https://x.example/', path: a/../../b } }", "must be a folder inside"],
  ["half a commit", "team: { policy: { git: 'https://x.example/', commit: abc } }", "whole commit id"],
  ["another protocol", "team: { policy: { url: 'file:///etc' } }", "team.policy.url"],
  ["no key", "team: { policy: x, keys: [] }", "would trust nobody"],
  ["no version", "team: { policy: x, minimumVersion: new }", "must be a version"],
  ["a version that nobody can order", "team: { policy: x, minimumVersion: 01.2.0 }", "must be a version"],
  ["no key that there could be", "team: { policy: x, keys: [k1] }", "team.keys.0: must be a key"],
  ["no bundle's name", "team: { policy: x, bundle: A B }", "team.bundle: must be lower-case"],
  ["a list", "[]", "expected object"],
] as const)("refused: %s", async (_, user, message) => {
  await expect(stand({ user }).load()).rejects.toMatchObject({
    code: "CONFIG_INVALID",
    message: expect.stringContaining(message),
  });
});

test("an empty user's file says nothing; one that anybody may write, or that was named and is not there, is refused", async () => {
  expect((await stand({ user: "" }).load()).layers).toHaveLength(1);
  const open = stand({ user: "" });
  chmodSync(join(open.home, ".config", "glovebox", "glovebox.yaml"), 0o646);
  await expect(open.load()).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  await expect(stand({ env: { GLOVEBOX_CONFIG: "/nowhere/glovebox.yaml" } }).load()).rejects.toMatchObject({
    code: "CONFIG_INVALID",
  });
  const folder = stand({});
  mkdirSync(join(folder.home, ".config", "glovebox", "glovebox.yaml"), { recursive: true });
  await expect(folder.load()).rejects.toMatchObject({ code: "CONFIG_INVALID" });
});

test("the environment says where the user's file is, and nothing says where the system's is", () => {
  const place = (env: NodeJS.ProcessEnv, config?: string) => userFilePlace(config, env, "/home/ada").file;
  expect(place({})).toBe("/home/ada/.config/glovebox/glovebox.yaml");
  expect(place({ XDG_CONFIG_HOME: "/x" })).toBe("/x/glovebox/glovebox.yaml");
  expect(place({ XDG_CONFIG_HOME: "x" })).toBe("/home/ada/.config/glovebox/glovebox.yaml");
  expect(place({ GLOVEBOX_CONFIG: "/y.yaml", XDG_CONFIG_HOME: "/x" })).toBe("/y.yaml");
  expect(place({ GLOVEBOX_CONFIG: "/y.yaml" }, "/z.yaml")).toBe("/z.yaml");
  expect(["/etc/glovebox", "/Library/Application Support/Glovebox"]).toContain(SYSTEM_DIRECTORY);
});

const ORGANISATION = (file: string) => ({ code: "ORGANISATION_POLICY", message: expect.stringContaining(file) });

asRoot.each([
  ["its file deleted", (at: string) => rmSync(join(at, "glovebox.yaml")), "glovebox.yaml` is missing"],
  ["its file writable by anybody", (at: string) => chmodSync(join(at, "glovebox.yaml"), 0o646), "chmod go-w"],
  ["its file writable by a group", (at: string) => chmodSync(join(at, "glovebox.yaml"), 0o664), "chmod go-w"],
  ["its file another's", (at: string) => chownSync(join(at, "glovebox.yaml"), 12_345, 0), "chown root"],
  [
    "its file a link",
    (at: string) => {
      renameSync(join(at, "glovebox.yaml"), join(at, "real.yaml"));
      symlinkSync(join(at, "real.yaml"), join(at, "glovebox.yaml"));
    },
    "is a symbolic link",
  ],
  [
    "its file a folder",
    (at: string) => {
      rmSync(join(at, "glovebox.yaml"));
      mkdirSync(join(at, "glovebox.yaml"));
    },
    "is not a regular file",
  ],
  ["its folder writable by anybody", (at: string) => chmodSync(at, 0o777), "chmod go-w"],
  ["its folder writable by a group", (at: string) => chmodSync(at, 0o775), "chmod go-w"],
  ["its folder another's", (at: string) => chownSync(at, 12_345, 0), "chown root"],
  [
    "its folder a link",
    (at: string) => {
      renameSync(at, `${at}-real`);
      symlinkSync(`${at}-real`, at);
    },
    "is a symbolic link",
  ],
  [
    "its folder a link to nothing",
    (at: string) => {
      rmSync(at, { recursive: true });
      symlinkSync("/nowhere", at);
    },
    "is a symbolic link",
  ],
  [
    "its folder a link of another's",
    (at: string) => {
      renameSync(at, `${at}-real`);
      symlinkSync(`${at}-real`, at);
      lchownSync(at, 12_345, 0);
    },
    "is a symbolic link",
  ],
  [
    "its folder a file",
    (at: string) => {
      rmSync(at, { recursive: true });
      writeFileSync(at, ACME, { mode: 0o644 });
    },
    "is not a folder",
  ],
  ["a parent writable by anybody, even if sticky", (at: string) => chmodSync(dirname(at), 0o1777), "chmod go-w"],
  ["a parent another's", (at: string) => chownSync(dirname(at), 12_345, 0), "chown root"],
  [
    "a parent a link",
    (at: string) => {
      renameSync(dirname(at), `${dirname(at)}-real`);
      symlinkSync(`${dirname(at)}-real`, dirname(at));
    },
    "is a symbolic link",
  ],
] as const)("an organisation with %s is not believed [G27]", async (_, spoil, message) => {
  const { load, systemDirectory } = stand({ system: ACME });
  expect((await load()).organisation).toBe("Acme");
  spoil(systemDirectory);
  await expect(load()).rejects.toMatchObject(ORGANISATION(message));
});

asRoot("an emptied or misspelt system's file stops the gateway [G27]", async () => {
  await expect(stand({ system: "" }).load()).rejects.toMatchObject({ code: "ORGANISATION_POLICY" });
  await expect(stand({ system: "# nothing\n" }).load()).rejects.toMatchObject({ code: "ORGANISATION_POLICY" });
  const message = expect.stringMatching(/glovebox\.yaml:1:15: organization: Unrecognized key/);
  await expect(stand({ system: "organization: { name: Acme, policy: x }\n" }).load()).rejects.toMatchObject({
    code: "CONFIG_INVALID",
    message,
  });
  await expect(stand({ system: "project: { policy: x }\n" }).load()).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  for (const policy of ["~/policy", "{ url: 'https://policy.example.org/acme.tar' }"]) {
    await expect(stand({ system: `organisation: { name: A, policy: ${policy} }` }).load()).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      message: expect.stringContaining("organisation.policy"),
    });
  }
});

test("who was enrolled stays so until somebody with the right to says otherwise [G27]", async () => {
  const data = scratch();
  await checkEnrolment(data, undefined);
  expect(await readEnrolment(data)).toBeUndefined();
  await rememberEnrolment(data, "Acme", new Date("2026-01-02T03:04:05Z"));
  await rememberEnrolment(data, "Acme", new Date("2027-01-02T03:04:05Z"));
  expect(await readEnrolment(data)).toEqual({ name: "Acme", since: "2026-01-02T03:04:05.000Z" });
  await checkEnrolment(data, "Acme");
  await expect(checkEnrolment(data, undefined)).rejects.toMatchObject(ORGANISATION("glovebox policy unenrol"));
  writeFileSync(join(data, "policy", "enrolment.json"), "");
  await expect(checkEnrolment(data, undefined)).rejects.toMatchObject(ORGANISATION("is damaged"));
  expect(await forgetEnrolment(data)).toBe(true);
  expect(await forgetEnrolment(data)).toBe(false);
  await checkEnrolment(data, undefined);
});

asRoot("the system's sinks hold, and a user adds others but replaces none", async () => {
  const sinks = (name: string, host: string) =>
    `logging:\n  sinks:\n    - { name: ${name}, type: https, url: "https://${host}/" }\n`;
  const system = sinks("central", "logs.example.com");
  const added = await stand({ system, user: sinks("mine", "logs.example.org") }).load();
  expect(added.sinks.map(({ name }) => name)).toEqual(["central", "mine"]);
  expect((await stand({ system, user: "logging: { sinks: [] }\n" }).load()).sinks).toHaveLength(1);
  await expect(stand({ system, user: sinks("central", "logs.example.org") }).load()).rejects.toMatchObject({
    code: "CONFIG_INVALID",
    message: expect.stringContaining("which can't be replaced"),
  });
});
