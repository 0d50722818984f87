import type { Principal } from "../../policy/request.ts";
import { settles } from "../calls.ts";
import { type Facts, factsIn, textIn } from "../facts.ts";
import type { AuditRecord, EventBody, IntentBody } from "../record.ts";
import { type Target, targetOf } from "./tools.ts";

/** Calls that run, of which the log has at most 4,096 at once, and those that people are asked about. */
const MAX_OPEN_CALLS = 8_192;
/** Calls that have ended, whose processes and connections may go on, and those that were denied. */
const MAX_ENDED_CALLS = 1_024;
/** Sessions that have, or had, a sandbox: each costs whoever asks for it a machine. */
const MAX_SESSIONS = 4_096;
/** Sessions that calls name and that have no sandbox yet, or never will: an agent can invent them as fast as it calls. */
const MAX_UNOPENED = 256;
const MAX_GATEWAYS = 256;

/** Of a call, what its later records do not repeat. */
export interface KnownCall extends Pick<IntentBody, "principal" | "tool" | "decision"> {
  readonly sessionId?: string;
  readonly bundle: { readonly name: string; readonly version: string; readonly digest: string };
  readonly target?: Target;
}

/** Of a session, what its later records do not repeat. Each part is absent until the log says it. */
export interface KnownSession {
  /** Who opened it, or else who called in it first: a session's id is its owner's alone to know at first. */
  readonly owner?: Principal;
  readonly machineId?: string;
  readonly engine?: string;
  readonly engineVersion?: string;
  readonly bootId?: string;
  readonly kernelRelease?: string;
}

/** What earlier records of the same chain say. Every lookup may come to nothing: records are exported one by one, too. */
export interface ExportContext {
  readonly call: (callId: string) => KnownCall | undefined;
  readonly session: (sessionId: string) => KnownSession | undefined;
  /** Glovebox's version that a gateway runs. */
  readonly version: (gateway: string) => string | undefined;
}

/** For a record on its own. */
export const NOTHING_KNOWN: ExportContext = {
  call: () => undefined,
  session: () => undefined,
  version: () => undefined,
};

/** Reads a chain with, record by record. Memory is bounded: what was heard of longest ago is forgotten. */
export interface Recollection extends ExportContext {
  /** To be called with every record, before it is exported. */
  note(record: AuditRecord): void;
}

export function createRecollection(): Recollection {
  const open = new Latest<KnownCall>(MAX_OPEN_CALLS);
  const ended = new Latest<KnownCall>(MAX_ENDED_CALLS);
  const sessions = new Latest<KnownSession>(MAX_SESSIONS);
  const callers = new Latest<Principal>(MAX_UNOPENED);
  const versions = new Latest<string>(MAX_GATEWAYS);
  // INVARIANT: only what the gateway opened is among the sessions, so that calls which name others make it forget none.
  const called = (sessionId: string, principal: Principal) => {
    const known = sessions.get(sessionId);
    if (known) sessions.set(sessionId, { owner: principal, ...known });
    else callers.set(sessionId, callers.get(sessionId) ?? principal);
  };
  const happened = (sessionId: string, body: EventBody) => {
    const known = sessions.get(sessionId);
    const said = sandboxIn(body);
    if (!known && !said) return;
    const owner = known?.owner ?? said?.owner ?? callers.take(sessionId);
    sessions.set(sessionId, { ...known, ...said, ...(owner && { owner }) });
  };
  const end = (callId: string) => {
    const call = open.take(callId);
    if (call) ended.set(callId, call);
  };
  return {
    call: (callId) => open.get(callId) ?? ended.get(callId),
    session: (sessionId) => {
      const owner = callers.get(sessionId);
      return sessions.get(sessionId) ?? (owner && { owner });
    },
    version: (gateway) => versions.get(gateway),
    note: ({ body, gateway }) => {
      switch (body.kind) {
        case "intent":
          (body.decision === "permit" || body.decision === "ask" ? open : ended).set(body.callId, knownCall(body));
          if (body.sessionId !== undefined) called(body.sessionId, body.principal);
          return;
        case "outcome":
          end(body.callId);
          return;
        case "event": {
          if (body.callId !== undefined && body.event === "approval-refused" && settles(body)) end(body.callId);
          if (body.sessionId !== undefined) happened(body.sessionId, body);
          const version = body.event === "gateway-started" ? textIn(factsIn(body.facts), "version") : undefined;
          if (version !== undefined) versions.set(gateway, version);
        }
      }
    },
  };
}

function knownCall({ principal, tool, decision, sessionId, bundle, arguments: args }: IntentBody): KnownCall {
  const { name, version, digest } = bundle;
  const target = decision === "invalid" ? undefined : targetOf(tool, args);
  return {
    ...{ principal, tool, decision },
    ...(sessionId !== undefined && { sessionId }),
    bundle: { name, version, digest },
    ...(target && { target }),
  };
}

/** Of a session whose sandbox is there from this record on; `undefined` of another record. */
function sandboxIn({ event, facts }: EventBody): KnownSession | undefined {
  if (event !== "session-opened" && event !== "session-woken") return undefined;
  const all = factsIn(facts);
  const machine = factsIn(all["machine"]);
  const attestation = factsIn(all["attestation"]);
  const said = {
    owner: principalIn(all),
    machineId: textIn(all, "machineId"),
    engine: textIn(machine, "engine"),
    engineVersion: textIn(machine, "engineVersion"),
    bootId: textIn(attestation, "bootId"),
    kernelRelease: textIn(attestation, "kernelRelease"),
  };
  return Object.fromEntries(Object.entries(said).filter(([, value]) => value !== undefined));
}

/** Logs of earlier versions do not say who opened a session. */
function principalIn(facts: Facts): Principal | undefined {
  const principal = factsIn(facts["principal"]);
  const id = textIn(principal, "id");
  const client = factsIn(principal["client"]);
  const [name, version] = [textIn(client, "name") ?? "", textIn(client, "version") ?? ""];
  return id === undefined ? undefined : { id, client: { name, version }, transport: "stdio" };
}

/** So many at most: the one that was set longest ago goes first. */
class Latest<T> {
  readonly #max: number;
  readonly #entries = new Map<string, T>();

  constructor(max: number) {
    this.#max = max;
  }

  get(key: string): T | undefined {
    return this.#entries.get(key);
  }

  take(key: string): T | undefined {
    const value = this.#entries.get(key);
    this.#entries.delete(key);
    return value;
  }

  set(key: string, value: T): void {
    this.#entries.delete(key);
    this.#entries.set(key, value);
    const [oldest] = this.#entries.keys();
    if (this.#entries.size > this.#max && oldest !== undefined) this.#entries.delete(oldest);
  }
}
