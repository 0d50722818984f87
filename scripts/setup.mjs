// Installs the system packages that Glovebox needs and this machine lacks, through apt where it is there and allowed. Runs on Node 20
// without packages.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
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

/** Installs what is missing, or ends the process with the commands that would. */
export async function setUpSystem({ log }) {
  const missing = [...new Set(PROGRAMS.filter(([program]) => !isInstalled(program)).map(([, name]) => name))];
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
  apt(["install", "-y", "--no-install-recommends", ...missing]);
}
