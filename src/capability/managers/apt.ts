import { GatewayError } from "../../errors.ts";
import type { Manager } from "./manager.ts";

const RELEASE = "/usr/lib/os-release";
const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";
const FROM = "Debian's apt and dpkg";

/**
 * There is no root in the sandbox, and apt and dpkg install for root alone. So apt resolves and downloads, into a directory of the
 * user's own, what the image lacks, checking the archive's signatures as ever; and the files are laid out there. Programs of packages
 * that run at installation don't.
 */
export const apt: Manager = {
  global: false,
  exact: false,
  async *steps({ packages, directory, registry }, place) {
    const home = `${directory}/.apt`;
    const root = `${home}/root`;
    const archives = `${home}/archives`;
    const suite = /^VERSION_CODENAME=([a-z]{2,32})$/m.exec(await place.read(RELEASE))?.[1];
    if (suite === undefined) throw new GatewayError("INVALID_ARGUMENTS", "ecosystem: the sandbox's image is no Debian");
    const list = (suites: readonly string[]) =>
      place.write(
        `${home}/sources.list`,
        suites.map((it) => `deb [signed-by=${KEYRING}] ${registry} ${it} main\n`).join(""),
      );
    const apt = ["apt-get", "--quiet", "--yes", ...options(home, archives)] as const;
    // Before anything is written there: who may not write to the directory fails here.
    yield { argv: ["mkdir", "-p", "--", `${home}/lists/partial`, `${archives}/partial`, root], from: FROM };
    const specs = packages.map(({ name, version }) => (version === undefined ? name : `${name}=${version}`));
    // Updates may be in no archive of the registry's, or too young for policy, and apt knows of no version but the newest.
    for (const suites of [[suite, `${suite}-updates`, `${suite}-security`], [suite]]) {
      await list(suites);
      const more = suites.length > 1 ? ({ mayFail: true } as const) : {};
      if (!(yield { argv: [...apt, "update"], from: FROM, ...more })) continue;
      // What was downloaded for an earlier call is laid out already.
      yield { argv: [...apt, "clean"], from: FROM };
      const download = ["install", "--download-only", "--no-install-recommends", "--", ...specs];
      if (yield { argv: [...apt, ...download], from: FROM, ...more }) break;
    }
    // `find` fails when a program fails that is given many files at once, and only then: `false` is given those that did.
    const extract = ["-exec", "dpkg-deb", "--extract", "{}", root, ";", "-exec", "false", "{}", "+"];
    yield { argv: ["find", archives, "-maxdepth", "1", "-name", "*.deb", "!", ...extract], from: "GNU findutils" };
    return `Unpacked, without root and the packages' own setup: add ${root}/usr/bin to PATH, and ${root}/usr/lib/*-linux-gnu to LD_LIBRARY_PATH.`;
  },
};

/** All that apt writes is in `home`; the image's list of what is installed is read only, so its lock is not taken. */
function options(home: string, archives: string): string[] {
  const settings = {
    "Dir::State::lists": `${home}/lists`,
    "Dir::State::extended_states": `${home}/extended_states`,
    "Dir::Cache": home,
    "Dir::Cache::archives": archives,
    "Dir::Etc::sourcelist": `${home}/sources.list`,
    "Dir::Etc::sourceparts": "/dev/null",
    "Debug::NoLocking": "true",
    "Acquire::Languages": "none",
    "Acquire::Retries": "0",
  };
  return Object.entries(settings).flatMap(([name, value]) => ["-o", `${name}=${value}`]);
}
