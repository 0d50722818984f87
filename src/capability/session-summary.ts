import { release } from "node:os";
import { z } from "zod";
import { ISOLATION_LEVELS } from "../policy/profile.ts";
import type { SessionSummary } from "../session/session.ts";
import type { Outcome } from "./capability.ts";
import { present } from "./render.ts";
import { refusalTexts } from "./run.ts";

const isolation = z.strictObject({
  level: z.enum(ISOLATION_LEVELS),
  engine: z.string(),
  acceleration: z.string(),
  start: z
    .enum(["cold", "template", "snapshot"])
    .describe("Booted for this session, a copy of a machine booted before, or as a snapshot has it."),
  warning: z.string().optional(),
  hostKernel: z.string(),
  guestKernel: z.string().describe("The sandbox's own."),
  guestBootId: z.string(),
  uid: z.number(),
  capabilities: z.string().describe("Effective, hexadecimal; 0 is none."),
  noNewPrivileges: z.boolean(),
  seccomp: z.boolean(),
  networkInterfaces: z.array(z.string()),
});

/** A session in a list. */
export const summary = z.strictObject({
  sessionId: z.string(),
  name: z.string().optional(),
  state: z.enum(["opening", "ready", "lost", "closing", "closed"]),
  openedAt: z.string(),
  expiresAt: z.string().describe("Closed then, unless called before."),
  runningProcesses: z.number(),
  detail: z.string().optional(),
});
const network = z.strictObject({
  grants: z.array(z.string()).describe("Hosts that may be reached; no others."),
  openConnections: z.number(),
  exposedPorts: z
    .array(z.strictObject({ port: z.number(), hostPort: z.number() }))
    .describe("By exposePort, which has the links."),
  refusals: z.array(z.string()).describe("The latest."),
  packages: z.array(z.string()).optional().describe("What has entered, as purls."),
});
const approved = z
  .array(z.strictObject({ pattern: z.string(), approver: z.string(), expiresAt: z.string() }))
  .describe("What a person has allowed for the rest of the session.");
export const fullSummary = summary.extend({
  isolation: isolation.optional(),
  network: network.optional(),
  approved: approved.optional(),
});

type Short = z.output<typeof summary>;
type Isolation = z.output<typeof isolation>;

export function shortOf({ isolation: _, network: __, approved: ___, ...rest }: SessionSummary): Short {
  return rest;
}

export function fullOf(found: SessionSummary): z.output<typeof fullSummary> {
  return {
    ...shortOf(found),
    ...present({ isolation: isolationOf(found), network: networkOf(found) }),
    ...approvedIn(found),
  };
}

function approvedIn({ approved: grants }: SessionSummary): { approved?: z.output<typeof approved> } {
  if (grants.length === 0) return {};
  return { approved: grants.map(({ pattern, approver, expiresAt }) => ({ pattern, approver, expiresAt })) };
}

function networkOf({ network: found }: SessionSummary): z.output<typeof network> | undefined {
  if (!found) return undefined;
  const { grants, openConnections, refusals, exposedPorts, packages } = found;
  const entered = packages && { packages: [...packages] };
  return {
    grants: [...grants],
    openConnections,
    exposedPorts: [...exposedPorts],
    refusals: refusalTexts(refusals),
    ...entered,
  };
}

function isolationOf({ isolation }: SessionSummary): Isolation | undefined {
  if (!isolation) return undefined;
  const { machine, attestation } = isolation;
  return {
    level: machine.level,
    engine: `${machine.engine} ${machine.engineVersion}`,
    acceleration: machine.acceleration,
    start: machine.start,
    ...present({ warning: machine.warning }),
    hostKernel: release(),
    guestKernel: attestation.kernelRelease,
    guestBootId: attestation.bootId,
    uid: attestation.uids[0] ?? -1,
    capabilities: attestation.capabilities.effective.replace(/^0+(?=.)/, ""),
    noNewPrivileges: attestation.noNewPrivs,
    seccomp: attestation.seccompMode === 2,
    networkInterfaces: [...attestation.interfaces],
  };
}

export function summaryOutcome(found: SessionSummary): Outcome<z.output<typeof fullSummary>> {
  const result = fullOf(found);
  const { sessionId, state } = result;
  return { result, text: [lineOf(shortOf(found)), ...detailLines(result)].join("\n"), facts: { sessionId, state } };
}

/** How the sandbox is isolated is for `sessionStatus` to tell: each schema costs every conversation. */
export function shortOutcome(found: SessionSummary): Outcome<Short> {
  const result = shortOf(found);
  const { sessionId, state } = result;
  return { result, text: lineOf(result), facts: { sessionId, state } };
}

export function lineOf({ sessionId, name, state, expiresAt, runningProcesses, detail }: Short): string {
  const label = name === undefined ? sessionId : `${sessionId} (${name})`;
  const why = detail === undefined ? "" : ` (${detail})`;
  return `${label}: ${state}${why}, ${runningProcesses} processes running, expires ${expiresAt}`;
}

function networkLines({
  grants,
  openConnections,
  exposedPorts,
  refusals,
  packages,
}: z.output<typeof network>): string[] {
  const reach = grants.length === 0 ? "nothing" : grants.join(", ");
  return [
    `network: may reach ${reach}; ${openConnections} connections open`,
    ...exposedPorts.map(({ port, hostPort }) => `port ${port} is exposed as ${hostPort} of this computer`),
    ...refusals.map((it) => `- ${it}`),
    ...(packages ? [`packages that have entered: ${packages.join(", ") || "none"}`] : []),
  ];
}

type Details = Partial<Pick<z.output<typeof fullSummary>, "isolation" | "network" | "approved">>;

/** How a sandbox is isolated, and what it may reach. */
export function detailLines({ isolation, network, approved = [] }: Details): string[] {
  return [
    ...(isolation ? isolationLines(isolation) : []),
    ...(network ? networkLines(network) : []),
    ...approved.map((it) => `allowed by ${it.approver} until ${it.expiresAt}: ${it.pattern}`),
  ];
}

function isolationLines(it: Isolation): string[] {
  const privileges = `uid ${it.uid}, capabilities ${it.capabilities}, no-new-privileges ${it.noNewPrivileges ? "on" : "off"}, seccomp ${it.seccomp ? "on" : "off"}`;
  return [
    `isolation: ${it.level} (${it.engine}, ${it.acceleration})`,
    `kernel of this computer: ${it.hostKernel}; of the sandbox: ${it.guestKernel} (boot ${it.guestBootId})`,
    `inside: ${privileges}, network ${it.networkInterfaces.join(" ") || "none"}`,
    ...(it.warning === undefined ? [] : [`warning: ${it.warning}`]),
  ];
}
