import type { Attestation } from "../../src/engine/attest.ts";
import { QUESTIONS } from "../../src/engine/witness.ts";

/** Text as the kernel would have it in a container with these facts; what a test leaves out is missing. */
export function answersOf(
  facts: Partial<Attestation>,
  changes: Readonly<Record<string, string | undefined>> = {},
): Buffer {
  const answers: Record<string, string | undefined> = { ...textsOf(facts), ...changes };
  return Buffer.concat(QUESTIONS.map((question) => answerOf(answers[question])));
}

function answerOf(text: string | undefined): Buffer {
  if (text === undefined) return Buffer.from("-\n");
  const content = Buffer.from(text);
  return Buffer.concat([Buffer.from(`${content.length}\n`), content]);
}

function textsOf(facts: Partial<Attestation>): Record<string, string | undefined> {
  const { capabilities, mounts = [], routes = [], sockets = [] } = facts;
  const row = (name: string, value: unknown) => (value === undefined ? "" : `${name}:\t${value}\n`);
  const limit = (value: number | undefined) => (value === undefined ? "max\n" : `${value}\n`);
  const mountinfo = mounts.map(
    (it, n) =>
      `${n} 1 0:${n} ${escaped(it.root)} ${escaped(it.target)} ${it.options.join(",")} - ${it.fstype} source rw`,
  );
  return {
    "</proc/sys/kernel/random/boot_id": line(facts.bootId),
    "</proc/sys/kernel/osrelease": line(facts.kernelRelease),
    "</proc/sys/kernel/hostname": line(facts.hostname),
    "</proc/self/status": [
      "Name:\tinside\n",
      row("Uid", facts.uids?.join("\t")),
      row("Gid", facts.gids?.join("\t")),
      row("Groups", facts.groups?.join(" ")),
      row("CapInh", capabilities?.inheritable),
      row("CapPrm", capabilities?.permitted),
      row("CapEff", capabilities?.effective),
      row("CapBnd", capabilities?.bounding),
      row("CapAmb", capabilities?.ambient),
      row("NoNewPrivs", facts.noNewPrivs === undefined ? undefined : Number(facts.noNewPrivs)),
      row("Seccomp", facts.seccompMode),
    ].join(""),
    "</proc/self/mountinfo": `${mountinfo.join("\n")}\n`,
    "</proc/self/net/dev": [
      "Inter-|   Receive      |  Transmit",
      " face |bytes    packets|bytes    packets",
      ...(facts.interfaces ?? []).map((it) => `${it.padStart(6)}: 0 0 0 0`),
      "",
    ].join("\n"),
    "</proc/self/net/route": `Iface\tDestination\tGateway\n${routes.map((it) => `${it.replace(" ", "\t")}\t0\n`).join("")}`,
    "</proc/self/net/ipv6_route": "00000000000000000000000000000001 80 0 0 0 0 0 0 0 lo\n",
    "</sys/fs/cgroup/pids.max": limit(facts.pidsMax),
    "</sys/fs/cgroup/memory.max": limit(facts.memoryMaxBytes),
    ...Object.fromEntries([...(facts.unmaskedPaths ?? []), ...(facts.writablePaths ?? [])].map((it) => [`?${it}`, ""])),
    ...Object.fromEntries(sockets.filter((it) => QUESTIONS.includes(`@${it}`)).map((it) => [`@${it}`, ""])),
    "s/run": list(sockets.filter((it) => !QUESTIONS.includes(`@${it}`))),
    "d/dev": facts.devices && list(facts.devices),
  };
}

const line = (text: string | undefined) => text && `${text}\n`;
const list = (paths: readonly string[]) => paths.map((it) => `${it}\0`).join("");

function escaped(path: string): string {
  return path.replaceAll(/[ \t\n\\]/g, (it) => `\\${it.charCodeAt(0).toString(8).padStart(3, "0")}`);
}
