// Installs the system packages that Glovebox needs and this machine lacks, through apt where it is there and allowed. Runs on Node 20
// without packages.
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, join } from "node:path";

const QEMU =
  process.arch === "arm64" ? ["qemu-system-aarch64", "qemu-system-arm"] : ["qemu-system-x86_64", "qemu-system-x86"];

/** Programs and the Debian packages that have them. */
const PROGRAMS = [
  QEMU,
  ["qemu-img", "qemu-utils"],
  ["mmdebstrap", "mmdebstrap"],
  ["mkfs.erofs", "erofs-utils"],
  ["mke2fs", "e2fsprogs"],
  ["unshare", "util-linux"],
  ["xz", "xz-utils"],
];

function isInstalled(program) {
  const folders = [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  return folders.some((folder) => folder !== "" && existsSync(join(folder, program)));
}

/** A server is not on the path: each version has a folder of its own. */
function hasPostgres() {
  const place = "/usr/lib/postgresql";
  return existsSync(place) && readdirSync(place).some((version) => existsSync(join(place, version, "bin", "postgres")));
}

/**
 * Installs what is missing, or ends the process with the commands that would.
 * @param programs besides Glovebox's own, as in `PROGRAMS`
 * @param postgres whether a PostgreSQL server is needed, of which tests start their own
 */
export async function setUpSystem({ log, programs = [], postgres = false }) {
  const wanted = [...PROGRAMS, ...programs];
  const missing = [...new Set(wanted.filter(([program]) => !isInstalled(program)).map(([, name]) => name))];
  const lacksPostgres = postgres && !hasPostgres();
  if (lacksPostgres) missing.push("postgresql");
  if (missing.length === 0) return;
  const isRoot = process.getuid?.() === 0;
  const hasApt = isInstalled("apt-get");
  const sudo = !isRoot && isInstalled("sudo") && spawnSync("sudo", ["-n", "true"], { stdio: "ignore" }).status === 0;
  if (!hasApt || !(isRoot || sudo)) {
    const install = hasApt
      ? "sudo apt-get update && sudo apt-get install --no-install-recommends"
      : "Install with your system's package manager:";
    console.error(
      `Glovebox needs system packages that are missing here. Run:\n\n  ${install} ${missing.join(" ")}\n\nand then this command again.`,
    );
    process.exit(1);
  }
  const apt = (args) => {
    const argv = [...(isRoot ? [] : ["sudo", "-n"]), "apt-get", "-q", "-o", "Dpkg::Use-Pty=0", ...args];
    const [program, ...rest] = argv;
    const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
    const { status, stdout, stderr } = spawnSync(program, rest, { encoding: "utf8", env, maxBuffer: 1 << 26 });
    if (status === 0) return;
    console.error(`${argv.join(" ")} failed:\n${stdout}${stderr}`);
    process.exit(1);
  };
  log("updating the list of system packages");
  apt(["update"]);
  log(`installing system packages: ${missing.join(" ")}`);
  const install = (names) => apt(["install", "-y", "--no-install-recommends", ...names]);
  if (!lacksPostgres) return install(missing);
  install(["postgresql-common"]);
  withoutCluster({ isRoot }, () => install(missing));
}

/** The server's package makes and starts a database of its own, unless postgresql-common is told before that none is wanted. */
function withoutCluster({ isRoot }, install) {
  const place = "/etc/postgresql-common/createcluster.conf";
  const before = existsSync(place) ? readFileSync(place, "utf8") : "";
  const write = (text) => {
    if (isRoot) writeFileSync(place, text);
    else spawnSync("sudo", ["-n", "tee", place], { input: text, stdio: ["pipe", "ignore", "inherit"] });
  };
  write(`${before}\ncreate_main_cluster = false\n`);
  try {
    install();
  } finally {
    write(before);
  }
}
