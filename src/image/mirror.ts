import { execFile } from "node:child_process";
import { access, readFile } from "node:fs/promises";
import { promisify } from "node:util";
import { GatewayError } from "../errors.ts";

const KEYRINGS = ["gpg", "pgp"].map((it) => `/usr/share/keyrings/debian-archive-keyring.${it}`);

/** Where Debian's packages come from: addresses of the archive and, if one is known, of its security updates. */
export interface Mirror {
  readonly archive: string;
  readonly security: string | undefined;
  /** Options for apt that the host has for reaching them: proxies, certificates. */
  readonly aptOptions: readonly string[];
  readonly keyring: string;
}

/**
 * The mirror that this host itself installs from, or what `GLOVEBOX_DEBIAN_MIRROR` names: the archive's address and, after a
 * space, that of the security updates.
 * @throws GatewayError IMAGE_BUILD_FAILED
 */
export async function findMirror(env: NodeJS.ProcessEnv): Promise<Mirror> {
  const keyring = await findKeyring();
  const aptOptions = (await output("apt-config", ["dump"])).split("\n").filter(isTransportOption);
  const named = env["GLOVEBOX_DEBIAN_MIRROR"]?.trim();
  if (named) {
    const [archive = "", security] = named.split(/\s+/);
    return { archive, security, aptOptions, keyring };
  }
  const codename = debianCodename(await readFile("/etc/os-release", "utf8"));
  const format = "$(REPO_URI)|$(RELEASE)|$(COMPONENT)|$(ORIGIN)";
  const targets = await output("apt-get", ["indextargets", "--format", format, "Created-By: Packages"]);
  const found = codename === undefined ? undefined : chooseMirror(targets, codename);
  if (found) return { ...found, aptOptions, keyring };
  throw new GatewayError(
    "IMAGE_BUILD_FAILED",
    "this host's apt has no Debian archive configured: set GLOVEBOX_DEBIAN_MIRROR to the address of one" +
      " (and, after a space, of its security archive)",
  );
}

/** @param targets lines `address|release|component|origin`, as `apt-get indextargets` prints them */
export function chooseMirror(targets: string, codename: string): Pick<Mirror, "archive" | "security"> | undefined {
  const lines = targets.split("\n").map((line) => line.split("|"));
  const debian = lines.filter(([, , component, origin]) => component === "main" && (!origin || origin === "Debian"));
  // A third party's archive may call itself as Debian's does: one that says its origin goes first.
  debian.sort(([, , , a = ""], [, , , b = ""]) => b.length - a.length);
  const archive = debian.find(([, release]) => release === codename)?.[0];
  const security = debian.find(([, release]) => release === `${codename}-security`)?.[0];
  return archive ? { archive, security } : undefined;
}

/** Lines of sources.list for a suite and its updates. */
export function sourcesOf({ archive, security, keyring }: Mirror, suite: string): string[] {
  const line = (address: string, name: string) => `deb [signed-by=${keyring}] ${address} ${name} main`;
  return [
    line(archive, suite),
    line(archive, `${suite}-updates`),
    ...(security ? [line(security, `${suite}-security`)] : []),
  ];
}

function debianCodename(osRelease: string): string | undefined {
  const field = (name: string) => new RegExp(`^${name}="?([^"\n]*)"?$`, "m").exec(osRelease)?.[1];
  return field("ID") === "debian" ? field("VERSION_CODENAME") : undefined;
}

function isTransportOption(line: string): boolean {
  return /^Acquire::(https?|ftp|Retries|ForceIPv[46])(::[^ ]*)? "[^"]+";$/.test(line);
}

async function findKeyring(): Promise<string> {
  for (const file of KEYRINGS) {
    const found = await access(file).then(
      () => true,
      () => false,
    );
    if (found) return file;
  }
  throw new GatewayError("IMAGE_BUILD_FAILED", "the package `debian-archive-keyring` is not installed");
}

async function output(program: string, args: readonly string[]): Promise<string> {
  try {
    return (await promisify(execFile)(program, args, { encoding: "utf8" })).stdout;
  } catch (error) {
    throw new GatewayError("IMAGE_BUILD_FAILED", `\`${program}\` failed: the image is built with apt and mmdebstrap`, {
      cause: error,
    });
  }
}
