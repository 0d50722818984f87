import type { SessionGrant } from "../approval/approval.ts";
import { asJson } from "../audit/as-json.ts";
import type { AuditWriter, EventBody, Json } from "../audit/record.ts";
import type { OpenEgress, SessionEgress } from "../egress/egress.ts";
import { asGatewayError, GatewayError } from "../errors.ts";
import { abortable, deadline } from "../lib/deadline.ts";
import type { Logger } from "../log.ts";
import { ISOLATION_LEVELS, type Profile } from "../policy/profile.ts";
import type { Principal } from "../policy/request.ts";
import { createSleeper, type HibernationPorts, type Sleeper } from "./hibernation.ts";
import { type InspectedSession, inspectSession } from "./inspection.ts";
import { Processes } from "./processes.ts";
import { Rest } from "./rest.ts";
import type { OpenSandbox, Sandbox, SavedSandbox } from "./sandbox.ts";
import type { NetworkSummary, Session, SessionState, SessionSummary } from "./session.ts";
import { canMove } from "./state.ts";
import { Turns } from "./turns.ts";

export interface TenancyPorts {
  readonly hibernation: HibernationPorts;
  /** What is in force now: how long it may be idle, and how much it may do. */
  readonly profile: () => Profile;
  readonly audit: AuditWriter;
  readonly log: Logger;
  readonly openEgress: OpenEgress;
  /** What people have allowed for the rest of a session. */
  readonly approved: (sessionId: string) => readonly SessionGrant[];
  /** What its sandbox is made by. */
  readonly made: Profile;
}

export interface TenancyIdentity {
  readonly sessionId: string;
  readonly principal: Principal;
  readonly name: string | undefined;
}

/** How long one call waits for a sandbox: clients give up at 60 s, and the answer must still reach them. */
const PATIENCE_MS = 45_000;
/** How often a waiting caller is told what is going on. */
const PROGRESS_INTERVAL_MS = 1_000;
const CLOSE_DEADLINE_MS = 4_000;

/** Disposal ends the processes, and then the sandbox. */
interface Open extends AsyncDisposable {
  readonly sandbox: Sleeper;
  readonly rest: Rest;
  readonly processes: Processes;
  readonly session: Session;
}

/** One session from opening to closed; the owner of its sandbox and processes. Opening begins at once. */
export class Tenancy {
  readonly identity: TenancyIdentity;
  readonly #ports: TenancyPorts;
  readonly #openedAt = Date.now();
  /** Ends the opening when the session is closed meanwhile. */
  readonly #ending = new AbortController();
  readonly #opening: Promise<Open>;
  #open: Open | undefined;
  #state: SessionState = "opening";
  #detail = "starting";
  /** By a clock that nobody sets: one that is put forward must close no session, and one that is put back keep none open. */
  #lastUsedAt = performance.now();
  #leases = 0;
  #closing: Promise<void> | undefined;

  /** `onFailed` is told when the opening fails, so that the next call can try again. */
  constructor(identity: TenancyIdentity, ports: TenancyPorts, openSandbox: OpenSandbox, onFailed: () => void) {
    this.identity = identity;
    this.#ports = ports;
    this.#opening = this.#prepare(openSandbox);
    this.#opening.catch((error: unknown) => {
      ports.log.warn({ sessionId: identity.sessionId, err: error }, "session not opened");
      if (this.#state === "opening") onFailed();
    });
  }

  /** A call holds the session from here until `release`. */
  hold(): void {
    this.#leases += 1;
    this.#lastUsedAt = performance.now();
  }

  release(): void {
    this.#leases -= 1;
    this.#lastUsedAt = performance.now();
  }

  isIdle(): boolean {
    const busy = this.#leases > 0 || (this.#open?.processes.running ?? 0) > 0 || this.#state === "closing";
    return !busy && performance.now() - this.#lastUsedAt > this.#ports.profile().timeouts.idleMs;
  }

  /** @throws GatewayError STILL_PREPARING, MACHINE_LOST, SESSION_CLOSED, or what opening failed with */
  async ready(signal: AbortSignal, progress: (message: string) => void): Promise<Session> {
    if (this.#state === "lost") throw new GatewayError("MACHINE_LOST", `the sandbox is gone: ${this.#detail}`);
    if (this.#state === "closing" || this.#state === "closed") throw new GatewayError("SESSION_CLOSED");
    const doing = this.#opening.then(async (open) => {
      await open.rest.awake();
      return open.session;
    });
    const patience = AbortSignal.timeout(PATIENCE_MS);
    const tell = () => this.#detail !== "" && progress(`preparing the sandbox: ${this.#detail}`);
    tell();
    const ticker = setInterval(tell, PROGRESS_INTERVAL_MS);
    try {
      return await abortable(doing, AbortSignal.any([signal, patience]));
    } catch (error) {
      if (error !== patience.reason) throw error;
      throw new GatewayError("STILL_PREPARING", `the sandbox is still being prepared (${this.#detail})`);
    } finally {
      clearInterval(ticker);
    }
  }

  /** Writes the sandbox as it is into an empty directory. @throws GatewayError as `ready`, DISK_FULL */
  async save(directory: string, signal: AbortSignal, progress: (message: string) => void): Promise<SavedSandbox> {
    await this.ready(signal, progress);
    if (!this.#open) throw new GatewayError("SESSION_CLOSED");
    progress("saving the sandbox");
    try {
      return await this.#open.sandbox.save(directory, signal);
    } catch (error) {
      this.#ending.signal.throwIfAborted();
      throw error;
    }
  }

  /** Looks at it and records what is seen; see `inspection.ts`. @throws GatewayError AUDIT_UNWRITABLE */
  inspect(signal: AbortSignal): Promise<InspectedSession> {
    const record = this.#record.bind(this);
    const of = { ...this.identity, state: this.#state, open: this.#open, record, log: this.#ports.log };
    return inspectSession(of, signal);
  }

  /** Resolves when the sandbox is there, however long that takes. */
  async opened(): Promise<void> {
    await this.#opening;
  }

  get machineId(): string | undefined {
    return this.#open?.sandbox.machineId;
  }

  /** Lets a sandbox rest that nobody uses. */
  rest(): void {
    this.#open?.rest.rest(performance.now() - this.#lastUsedAt);
  }

  /** Ends the sandbox, whatever its state. Rejects when something of it may be left. */
  close(why: string): Promise<void> {
    this.#closing ??= this.#close(why);
    return this.#closing;
  }

  /** Whether it is being closed, or is closed. */
  get isEnding(): boolean {
    return this.#closing !== undefined;
  }

  async #close(why: string): Promise<void> {
    this.#move("closing");
    this.#detail = why;
    try {
      this.#ending.abort(new GatewayError("SESSION_CLOSED", `the session was closed (${why})`));
      const open = await this.#opening.catch(() => undefined);
      // What was putting it to rest, or waking it, has been told to end.
      const disposed = open?.rest.settled.then(() => open[Symbol.asyncDispose]());
      if (disposed) await abortable(disposed, deadline(CLOSE_DEADLINE_MS));
    } finally {
      this.#move("closed");
      await this.#record("session-closed", { why });
    }
  }

  /** Why a sandbox like this one would not be made under this profile, if it is so grave that it must end. */
  misfit({ isolation, writableRoot }: Profile, level = this.#open?.sandbox.facts.level): string | undefined {
    if (level !== undefined && ISOLATION_LEVELS.indexOf(level) < ISOLATION_LEVELS.indexOf(isolation.floor))
      return `policy demands \`${isolation.floor}\` by now`;
    return this.#ports.made.writableRoot && !writableRoot ? "policy permits no writable root by now" : undefined;
  }

  summary(): SessionSummary {
    const { sessionId, name } = this.identity;
    const { sandbox, processes, session } = this.#open ?? {};
    const leftMs = this.#lastUsedAt + this.#ports.profile().timeouts.idleMs - performance.now();
    return {
      sessionId,
      ...(name === undefined ? {} : { name }),
      state: this.#state,
      openedAt: new Date(this.#openedAt).toISOString(),
      expiresAt: new Date(Date.now() + leftMs).toISOString(),
      runningProcesses: processes?.running ?? 0,
      ...(sandbox ? { isolation: { machine: sandbox.facts, attestation: sandbox.attestation } } : {}),
      ...(session ? { network: networkOf(session.egress) } : {}),
      approved: this.#ports.approved(sessionId),
      ...(this.#detail === "" ? {} : { detail: this.#detail }),
    };
  }

  async #prepare(openSandbox: OpenSandbox): Promise<Open> {
    const { sessionId, name, principal } = this.identity;
    const { signal } = this.#ending;
    const progress = (message: string) => {
      this.#detail = message;
    };
    try {
      await using stack = new AsyncDisposableStack();
      const opened = await openSandbox({ signal, progress });
      let running: Processes | undefined;
      const egress = this.#ports.openEgress({
        sessionId,
        principal,
        callsRunning: () => running?.calls ?? [],
        end: (why) => this.#endLater(why),
        use: (until) => this.#use(until),
      });
      const attach = ({ machine }: Sandbox, until: AbortSignal) => egress.attach(machine, until);
      const sandbox = stack.use(createSleeper(opened, this.#ports.hibernation, attach));
      stack.use(egress);
      await attach(sandbox, signal);
      const { machineId, imageDigest: image, container, facts: machine, attestation, pooled } = sandbox;
      const onEnded = (facts: Json) => this.#recordLater("process-ended", facts);
      const { environment } = egress;
      const processes = stack.use(new Processes({ container, profile: this.#ports.profile, onEnded, environment }));
      running = processes;
      await this.#record("session-opened", asJson({ name, principal, machineId, image, pooled, machine, attestation }));
      signal.throwIfAborted();
      // Another policy may have come into force since the sandbox was asked for, and nobody could review what was not there.
      const misfit = this.misfit(this.#ports.profile(), sandbox.facts.level);
      if (misfit !== undefined) throw new GatewayError("SESSION_CLOSED", `the session was closed (${misfit})`);
      const owned = stack.move();
      const open: Open = {
        rest: this.#restOf(sandbox, processes),
        session: { id: sessionId, container, processes, egress, turns: new Turns() },
        processes,
        sandbox,
        [Symbol.asyncDispose]: () => owned.disposeAsync(),
      };
      this.#open = open;
      this.#detail = "";
      this.#move("ready");
      if (sandbox.lost.aborted) this.#lose(open);
      else sandbox.lost.addEventListener("abort", () => this.#lose(open), { once: true });
      return open;
    } catch (error) {
      const failure = asGatewayError(signal.aborted ? signal.reason : error);
      await this.#record("session-refused", { code: failure.code, message: failure.message });
      throw failure === error || signal.aborted ? failure : error;
    }
  }

  #restOf(sandbox: Sleeper, processes: Processes): Rest {
    const { sessionId } = this.identity;
    return new Rest({
      sandbox,
      hibernateMs: this.#ports.profile().timeouts.hibernateMs,
      isUnused: () => this.#state === "ready" && this.#leases === 0 && processes.running === 0,
      ending: this.#ending.signal,
      record: (event, facts) => this.#record(event, facts),
      tell: (detail) => {
        if (this.#state === "ready") this.#detail = detail;
      },
      onFailed: (error) => this.#ports.log.warn({ sessionId, err: error }, "an idle sandbox was not put to rest"),
    });
  }

  /** The machine ended by itself: say so, and give back what the host still holds of it. */
  #lose(open: Open): void {
    if (this.#state !== "ready") return;
    const reason = asGatewayError(open.sandbox.lost.reason);
    this.#move("lost");
    this.#detail = reason.message;
    open.processes.machineLost();
    this.#recordLater("session-lost", { code: reason.code, message: reason.message });
    Promise.resolve(open[Symbol.asyncDispose]()).catch((error: unknown) =>
      this.#ports.log.error({ sessionId: this.identity.sessionId, err: error }, "a lost sandbox was not cleaned up"),
    );
  }

  /** What is no call and needs the sandbox: a request to a port that it exposes. */
  async #use(signal: AbortSignal): Promise<Disposable> {
    this.hold();
    using stack = new DisposableStack();
    stack.defer(() => this.release());
    await this.ready(signal, () => undefined);
    return stack.move();
  }

  /** For what has no caller to answer. */
  #endLater(why: string): void {
    this.close(why).catch((error: unknown) =>
      this.#ports.log.error({ sessionId: this.identity.sessionId, err: error }, "session did not close cleanly"),
    );
  }

  #move(to: SessionState): void {
    if (!canMove(this.#state, to))
      throw new GatewayError("INTERNAL", `a session cannot go from ${this.#state} to ${to}`);
    this.#state = to;
  }

  #record(event: EventBody["event"], facts: Json): Promise<void> {
    return this.#ports.audit.append({ kind: "event", event, sessionId: this.identity.sessionId, facts });
  }

  /** For what happened already and has no caller to refuse. */
  #recordLater(event: EventBody["event"], facts: Json): void {
    this.#record(event, facts).catch((error: unknown) =>
      this.#ports.log.error({ sessionId: this.identity.sessionId, event, err: error }, "event not recorded"),
    );
  }
}

function networkOf({ grants, open, refusalsSince, previews, packages }: SessionEgress): NetworkSummary {
  const entered = packages && { packages: packages.entered };
  return { grants, openConnections: open, refusals: refusalsSince(0), exposedPorts: previews.exposed, ...entered };
}
