import { nameWords } from "../lib/name-words.ts";

const MAX_KNOWN = 1_000;
const MAX_KNOWN_CHARS = 64;
const normal = new Map<string, string>();

/**
 * Names by which records are found, counted, verified and put together again: without their values the log could not say who did what, and why it was
 * allowed. They are what the gateway itself says, and no rule of a policy reaches them.
 */
const RESERVED: ReadonlySet<string> = new Set(
  [
    // Of a record and its bodies.
    "version chain seq time gateway prev body hash kind callId principal tool arguments sessionId decision policies problems bundle shadow",
    "request trace traceparent tracestate requestId machineId status code durationMs facts event id client transport effect reason layer layers",
    "name digest would",
    // Of facts that other records, exports, checks and the verification are made of.
    "calls openCalls tree note verifier rotations attestation machine image pooled previous inForce action resource type context facts label",
    "approvalId approver channel channels scope details expiresAt why exitCode endedBy signal state connectionId processId snapshot",
    "host port hostPort scheme address sentBytes receivedBytes requests unrecordedBefore purl ecosystem file registry integrity requested",
    "bytes sizeBytes sha256 hmacSha256 scriptSha256 scriptHmacSha256 sink target outageMs segment message",
    // Of budgets and shipping, which policy counts by.
    "usage logging lagRecords lagSeconds",
  ]
    .join(" ")
    .split(" ")
    .map(normalName),
);

/** One spelling for all of a name: compared with it, case and separators make no difference. */
export function normalName(name: string): string {
  const known = normal.get(name);
  if (known !== undefined) return known;
  const made = nameWords(name).join("");
  // Records use few names, and those again and again; agents can use others.
  if (normal.size >= MAX_KNOWN) normal.clear();
  if (name.length <= MAX_KNOWN_CHARS) normal.set(name, made);
  return made;
}

/** @param normal a normal name */
export function isReserved(normal: string): boolean {
  return RESERVED.has(normal);
}

/** What is wrong with a name of `audit.redact`; `undefined`: nothing. */
export function fieldProblem(name: string): string | undefined {
  const [tool = "", field, ...more] = name.split(".");
  if (more.length > 0) return "must be a name, or the name of a tool, a dot and the name of one of its arguments";
  if (normalName(field ?? tool) === "") return "must have letters or digits on both sides of the dot";
  if (field !== undefined || !isReserved(normalName(name))) return undefined;
  return `is reserved: records are found and checked by \`${name}\`; write \`<tool>.${name}\` to leave out an argument of that name`;
}

/** Arguments that the log, and policy, know by another name. */
const ALIASES: Readonly<Record<string, string>> = {
  "importFiles.to": "path",
  "importFiles.path": "mountPath",
  "exportFiles.to": "mountPath",
};

/** The names of a policy, ready to be asked for. */
export interface FieldRules {
  /** Normal names that count everywhere. */
  readonly anywhere: ReadonlySet<string>;
  /** By tool: normal names of its arguments. */
  readonly ofTools: ReadonlyMap<string, ReadonlySet<string>>;
}

export function fieldRules(names: readonly string[]): FieldRules {
  const anywhere = new Set<string>();
  const ofTools = new Map<string, Set<string>>();
  for (const name of names) {
    const [tool = "", field] = name.split(".");
    if (field === undefined) anywhere.add(normalName(tool));
    else {
      const own = ofTools.get(tool) ?? new Set();
      ofTools.set(tool, own.add(normalName(field)).add(normalName(ALIASES[name] ?? field)));
    }
  }
  return { anywhere, ofTools };
}
