import { factsIn, numberIn, present, textIn } from "../facts.ts";
import type { AuditRecord, EventBody } from "../record.ts";
import { type OcsfContext, type OcsfEvent, ocsfEvent } from "./ocsf-event.ts";
import { actorIn, correlationOf, firewallRule, sandboxEndpoint, sandboxOf, sha256Of } from "./ocsf-parts.ts";

// File Hosting Activity, Download: a file of a package comes from a registry into the sandbox, or is kept out. It is no installation: what a
// package manager does with the file is not known. The class has the file's digest, by which a package that turns out bad is found.

const MAPPED = ["name", "version", "purl", "file", "sha256", "bytes", "registry"];

export function packageEvent(record: AuditRecord, body: EventBody, context: OcsfContext): OcsfEvent {
  const facts = factsIn(body.facts);
  const admitted = body.event === "package-admitted";
  const known = body.sessionId === undefined ? undefined : context.session(body.sessionId);
  const name = textIn(facts, "name") ?? "unknown";
  const version = textIn(facts, "version");
  const called = version === undefined ? name : `${name}@${version}`;
  const sha256 = sha256Of(textIn(facts, "sha256"));
  const approved = textIn(facts, "approvalId") !== undefined;
  return ocsfEvent(record, context, "hosting", {
    activity: "Download",
    severity: admitted ? "Informational" : "Low",
    status: admitted ? "Success" : "Failure",
    ruling: admitted
      ? { action: "Allowed", disposition: approved ? "Approved" : "Allowed" }
      : { action: "Denied", disposition: "Blocked" },
    correlation: correlationOf(record, facts),
    message: `package ${called} ${admitted ? "enters the sandbox" : "was kept out"}`,
    unmapped: Object.fromEntries(Object.entries(facts).filter(([it]) => !MAPPED.includes(it))),
    attributes: {
      actor: actorIn(record, known),
      device: sandboxOf(body.sessionId, known),
      dst_endpoint: registryOf(textIn(facts, "registry")),
      file: present({
        hashes: sha256 && [sha256],
        name: textIn(facts, "file") ?? called,
        product: present({ name, uid: textIn(facts, "purl"), version }),
        size: numberIn(facts, "bytes"),
        type: "Regular File",
        type_id: 1,
      }),
      firewall_rule: firewallRule(facts),
      src_endpoint: sandboxEndpoint(body.sessionId),
      status_detail: textIn(facts, "reason"),
    },
  });
}

/** `host:port`; a host that is an address of IPv6 stands in brackets. */
function registryOf(registry: string | undefined) {
  if (registry === undefined) return undefined;
  const [, host = registry, digits = ""] = /^(.+):(\d{1,5})$/.exec(registry) ?? [];
  const port = Number(digits);
  return present({ hostname: host, port: digits !== "" && port <= 65_535 ? port : undefined });
}
