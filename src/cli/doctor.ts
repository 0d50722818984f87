import { accessSync, constants, existsSync, readFileSync, statfsSync, statSync } from "node:fs";
import { totalmem } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { Command } from "commander";
import pc from "picocolors";
import { verifyLog } from "../audit/verify.ts";
import type { Config } from "../config.ts";
import { examineHost } from "../engine/qemu/host.ts";
import { asGatewayError } from "../errors.ts";
import { openImageStore } from "../image/store.ts";
import { printable } from "../lib/text.ts";
import { checkEnrolment } from "../policy/enrolment.ts";
import type { FetchLayer } from "../policy/fetch-layer.ts";
import type { LoadPorts } from "../policy/load.ts";
import { loadPolicy } from "../policy/load-policy.ts";
import { loadSettings } from "../settings.ts";
import { examineSinks, type SinkChecks } from "./doctor-sinks.ts";

export interface DoctorContext {
  /** What bundles are loaded with. */
  readonly load: () => Promise<LoadPorts>;
  readonly config: () => Config;
  readonly fetch: (dataDirectory: string) => FetchLayer;
  readonly logging: SinkChecks;
}

export interface Finding {
  readonly name: string;
  readonly status: "ok" | "warn" | "fail";
  readonly detail: string;
  /** A command, or what to do. */
  readonly fix?: string;
}

type Findings = Finding | readonly Finding[];
type Check = (config: Config, context: DoctorContext) => Findings | Promise<Findings>;

const MIB = 1024 ** 2;
const MIN_FREE_BYTES = 4 * 1024 * MIB;
const MIN_MEMORY_BYTES = 2 * 1024 * MIB;
/** What building an image runs, and the Debian packages that have it. */
const TOOLS = {
  mmdebstrap: "mmdebstrap",
  "mkfs.erofs": "erofs-utils",
  mke2fs: "e2fsprogs",
  xz: "xz-utils",
  unshare: "util-linux",
};

const CHECKS: readonly Check[] = [
  node,
  qemu,
  acceleration,
  memory,
  disk,
  buildTools,
  image,
  policy,
  audit,
  sinks,
  state,
];

/** `glovebox doctor`. */
export function doctorCommand(context: DoctorContext): Command {
  return new Command("doctor")
    .description(
      "check everything that sandboxes and receivers of the log need; each problem comes with its fix, exit code 1 when one is serious",
    )
    .option("--json", "print the findings as JSON")
    .action(async ({ json }: { json?: boolean }) => {
      const findings = await examine(context);
      if (findings.some((it) => it.status === "fail")) process.exitCode = 1;
      if (json) console.log(JSON.stringify(findings, null, 2));
      else for (const finding of findings) console.log(lineOf(finding));
    });
}

export async function examine(context: DoctorContext): Promise<Finding[]> {
  const config = context.config();
  const findings: Finding[] = [];
  for (const check of CHECKS) findings.push(...[await check(config, context)].flat());
  return findings;
}

function lineOf({ name, status, detail, fix }: Finding): string {
  const colour = pc.createColors(process.stdout.isTTY === true);
  const mark = { ok: colour.green("ok  "), warn: colour.yellow("warn"), fail: colour.red("FAIL") }[status];
  return `${mark} ${name.padEnd(13)} ${detail}${fix ? `\n${" ".repeat(19)}fix: ${fix}` : ""}`;
}

function node(): Finding {
  const detail = process.version;
  if (Number(process.versions.node.split(".")[0]) >= 24) return { name: "Node.js", status: "ok", detail };
  return { name: "Node.js", status: "fail", detail: `${detail} is too old`, fix: "npm install" };
}

async function qemu(): Promise<Finding> {
  try {
    const { version, warning, confinement } = await examineHost(AbortSignal.timeout(5_000));
    if (!hasProgram("qemu-img")) {
      return { name: "QEMU", status: "fail", detail: "qemu-img is missing", fix: "apt-get install qemu-utils" };
    }
    const detail = `${version.text}, ${confinement}`;
    return warning
      ? { name: "QEMU", status: "warn", detail: `${detail}: ${warning}` }
      : { name: "QEMU", status: "ok", detail };
  } catch (error) {
    const { message, fix } = asGatewayError(error);
    return { name: "QEMU", status: "fail", detail: message, fix };
  }
}

/** What the first sandbox found out by booting; until then, what can be seen without. */
function acceleration(config: Config): Finding {
  const name = "acceleration";
  const known = join(config.stateDirectory, "acceleration.json");
  if (existsSync(known)) {
    const text = readFileSync(known, "utf8");
    const kind = /"acceleration":\s*"(\w+)"/.exec(text)?.[1] ?? "unknown";
    if (kind !== "tcg") return { name, status: "ok", detail: `${kind}, proved by a boot` };
    const warning = /"warning":\s*"([^"]{0,300})/.exec(text)?.[1] ?? "";
    return { name, status: "warn", detail: `emulation: sandboxes work and are slower. ${warning}` };
  }
  if (process.platform !== "linux") return { name, status: "ok", detail: "found out when the first sandbox starts" };
  if (!existsSync("/dev/kvm")) {
    const fix = "switch on virtualisation in the firmware, or nested virtualisation in the cloud";
    return { name, status: "warn", detail: "no /dev/kvm: sandboxes will be emulated and slower", fix };
  }
  try {
    accessSync("/dev/kvm", constants.R_OK | constants.W_OK);
  } catch {
    const fix = `usermod -aG kvm ${process.env["USER"] ?? "<you>"} and log in again`;
    return { name, status: "warn", detail: "/dev/kvm may not be used by this user: sandboxes will be emulated", fix };
  }
  return { name, status: "ok", detail: "/dev/kvm is there; the first sandbox tries whether it works" };
}

function memory(): Finding {
  const detail = `${Math.round(totalmem() / MIB)} MiB`;
  if (totalmem() >= MIN_MEMORY_BYTES) return { name: "memory", status: "ok", detail };
  return { name: "memory", status: "warn", detail, fix: "lower resources.memoryMiB in the profile, or add memory" };
}

function disk({ dataDirectory }: Config): Finding {
  let existing = dataDirectory;
  while (!existsSync(existing)) existing = dirname(existing);
  const { bavail, bsize } = statfsSync(existing);
  const detail = `${Math.round((bavail * bsize) / MIB)} MiB free in ${existing}`;
  if (bavail * bsize >= MIN_FREE_BYTES) return { name: "disk", status: "ok", detail };
  return { name: "disk", status: "fail", detail, fix: "free 4 GiB, or set GLOVEBOX_DATA_DIR to a larger disk" };
}

function buildTools(): Finding {
  const missing = Object.entries(TOOLS).filter(([program]) => !hasProgram(program));
  if (missing.length === 0) return { name: "build tools", status: "ok", detail: "all there" };
  const fix = `apt-get install ${missing.map(([, name]) => name).join(" ")}`;
  return {
    name: "build tools",
    status: "warn",
    detail: `missing: ${missing.map(([program]) => program).join(", ")}`,
    fix,
  };
}

async function image({ imageDirectory }: Config): Promise<Finding> {
  try {
    const { digest } = await openImageStore(imageDirectory).find("default");
    return { name: "guest image", status: "ok", detail: digest.slice(0, 19) };
  } catch (error) {
    const { message, fix } = asGatewayError(error);
    return { name: "guest image", status: "fail", detail: message, fix };
  }
}

async function policy({ settings: places, dataDirectory }: Config, context: DoctorContext): Promise<Finding> {
  try {
    const settings = await loadSettings(places);
    await checkEnrolment(dataDirectory, settings.organisation);
    const { sources, warnings } = await loadPolicy(settings.layers, {
      load: await context.load(),
      fetch: context.fetch(dataDirectory),
    });
    const layers = sources.map(({ name, bundle: { identity, tests } }) => {
      const known = `${identity.name} ${identity.version}, ${tests.length} tests passed`;
      return sources.length === 1 ? known : `${name}: ${known}`;
    });
    const detail = [...layers, ...settings.warnings, ...warnings].map((it) => printable(it)).join("; ");
    const isWell = settings.warnings.length + warnings.length === 0;
    return { name: "policy", status: isWell ? "ok" : "warn", detail };
  } catch (error) {
    const { message, fix } = asGatewayError(error);
    return { name: "policy", status: "fail", detail: message, fix };
  }
}

async function audit({ auditDirectory }: Config): Promise<Finding> {
  const name = "audit log";
  if (!existsSync(auditDirectory)) return { name, status: "ok", detail: "none yet" };
  const access = writable(auditDirectory);
  if (access) return { name, status: "fail", ...access };
  if (statSync(auditDirectory).mode & 0o077) {
    return { name, status: "warn", detail: "others may read it", fix: `chmod 700 ${auditDirectory}` };
  }
  const { problemCount, records } = await verifyLog(auditDirectory);
  if (problemCount === 0) return { name, status: "ok", detail: `${records} records, whole` };
  return { name, status: "fail", detail: `${problemCount} problems`, fix: "glovebox audit verify" };
}

async function sinks(_config: Config, { logging }: DoctorContext): Promise<Finding[]> {
  return await examineSinks(logging);
}

function state({ stateDirectory }: Config): Finding {
  const access = existsSync(stateDirectory) ? writable(stateDirectory) : undefined;
  return access
    ? { name: "state", status: "fail", ...access }
    : { name: "state", status: "ok", detail: stateDirectory };
}

function writable(directory: string): { detail: string; fix: string } | undefined {
  try {
    accessSync(directory, constants.R_OK | constants.W_OK | constants.X_OK);
    return undefined;
  } catch {
    return { detail: `${directory} cannot be written`, fix: `chown -R ${process.env["USER"] ?? "<you>"} ${directory}` };
  }
}

function hasProgram(name: string): boolean {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/sbin"];
  return folders.some((folder) => folder !== "" && existsSync(join(folder, name)));
}
