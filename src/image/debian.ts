import type { Argv } from "./command.ts";
import { enclosed } from "./command.ts";
import type { Mirror } from "./mirror.ts";
import { sourcesOf } from "./mirror.ts";

/** Every time stamp that would otherwise be the build's, in seconds: 2025-01-01. */
export const SOURCE_DATE_EPOCH = 1_735_689_600;

export interface PackageSet {
  readonly suite: string;
  readonly packages: readonly string[];
  /** `extract`: the files of the packages and all they depend on. `minbase`: a root file system with them installed. */
  readonly variant: "extract" | "minbase";
  /** Paths that are never unpacked. */
  readonly exclude?: readonly string[];
}

/** The command that writes a set of Debian packages, checked against Debian's signatures, as a tar archive to `tar`. */
export function bootstrapCommand(set: PackageSet, tar: string, mirror: Mirror, isRoot: boolean): Argv {
  const argv: Argv = [
    "mmdebstrap",
    `--mode=${isRoot ? "root" : "unshare"}`,
    `--variant=${set.variant}`,
    "--format=tar",
    `--include=${set.packages.join(",")}`,
    // The archives stay in the tar: their names are the list of packages and versions, which `extract` leaves nowhere else.
    ...(set.variant === "extract" ? ["--skip=essential/unlink,cleanup/apt/cache"] : []),
    '--aptopt=APT::Install-Recommends "false";',
    ...mirror.aptOptions.map((it) => `--aptopt=${it}`),
    ...(set.exclude ?? []).map((it) => `--dpkgopt=path-exclude=/${it}/*`),
    set.suite,
    tar,
    ...sourcesOf(mirror, set.suite),
  ];
  // An ordinary user's mmdebstrap makes its own namespaces.
  return isRoot ? enclosed(argv, { network: true, mapped: false }) : argv;
}

/** `name=version` from the path of a package's archive, or `undefined` for any other path. */
export function packageOfArchive(path: string): string | undefined {
  const match = /^var\/cache\/apt\/archives\/([^_/]+)_([^_/]+)_[^_/]+\.deb$/.exec(path);
  return match ? decodeURIComponent(`${match[1]}=${match[2]}`) : undefined;
}

/** `name=version` of every package installed according to dpkg's status file. */
export function packagesOfStatus(status: string): string[] {
  return status
    .split("\n\n")
    .map((block) => [/^Package: (.+)$/m.exec(block)?.[1], /^Version: (.+)$/m.exec(block)?.[1]] as const)
    .filter(([name, version]) => name && version)
    .map(([name, version]) => `${name}=${version}`)
    .sort();
}
