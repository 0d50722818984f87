import type { CallContext, Explanation, Outcome } from "../../src/capability/capability.ts";
import { findCapability } from "../../src/capability/registry.ts";
import type { Container } from "../../src/container/container.ts";
import type { SessionEgress } from "../../src/egress/egress.ts";
import { GatewayError } from "../../src/errors.ts";
import { createMounts } from "../../src/mounts/mounts.ts";
import type { SessionPackages } from "../../src/packages/session-packages.ts";
import { profileSchema } from "../../src/policy/profile.ts";
import type { Principal } from "../../src/policy/request.ts";
import { Processes } from "../../src/session/processes.ts";
import type { Session, Sessions } from "../../src/session/session.ts";
import { Turns } from "../../src/session/turns.ts";
import { localContainer } from "./local-container.ts";

export const PRINCIPAL: Principal = {
  id: "local:test",
  client: { name: "tests", version: "1.0.0" },
  transport: "stdio",
};

export interface Workbench extends AsyncDisposable {
  readonly session: Session;
  readonly progress: string[];
  /** Validates, describes and runs, as the spine does; the result is checked against the tool's output schema. */
  call(tool: string, args?: object, signal?: AbortSignal): Promise<Called>;
}

interface Called extends Outcome<unknown> {
  // biome-ignore lint/suspicious/noExplicitAny: tests look into results of many shapes
  readonly result: any;
}

export interface WorkbenchOptions {
  readonly container?: Container;
  readonly profile?: object;
  readonly sessions?: Partial<Sessions>;
  readonly decide?: (tool: string, args: unknown) => Explanation;
  readonly packages?: SessionPackages;
  /** Variables of the session's programs. */
  readonly environment?: Readonly<Record<string, string>>;
}

/** A network that nothing uses. */
export function closedEgress(): SessionEgress {
  return {
    environment: {},
    packages: undefined,
    grants: [],
    open: 0,
    mark: 0,
    attach: async () => undefined,
    previews: {
      exposed: [],
      expose: () => Promise.reject(new GatewayError("SESSION_CLOSED")),
      close: async () => undefined,
      [Symbol.dispose]: () => undefined,
    },
    refusalsSince: () => [],
    [Symbol.dispose]: () => undefined,
  };
}

/** Capabilities over this machine's own programs and files instead of a sandbox. */
export function workbench(options: WorkbenchOptions = {}): Workbench {
  const container = options.container ?? localContainer();
  const profile = profileSchema.parse(options.profile ?? {});
  const environment = options.environment ?? {};
  const processes = new Processes({ container, profile: () => profile, onEnded: () => undefined, environment });
  const egress = { ...closedEgress(), ...(options.packages && { packages: options.packages }) };
  const session: Session = { id: "ses-test", container, processes, egress, turns: new Turns() };
  const progress: string[] = [];
  const unexpected = (): never => {
    throw new GatewayError("INTERNAL", "not expected in this test");
  };
  const sessions: Sessions = {
    profile,
    open: unexpected,
    close: unexpected,
    reset: unexpected,
    list: unexpected,
    status: unexpected,
    snapshots: { list: unexpected, take: unexpected, restore: unexpected, fork: unexpected, delete: unexpected },
    ...options.sessions,
  };
  return {
    session,
    progress,
    call: async (tool, given = {}, signal = new AbortController().signal) => {
      const capability = findCapability(tool);
      if (!capability) throw new Error(`no tool ${tool}`);
      const args = capability.input.parse(given);
      capability.describe(args, PRINCIPAL);
      const context: CallContext = {
        callId: "call-test",
        principal: PRINCIPAL,
        profile,
        signal,
        progress: (message) => progress.push(message),
        session: async () => session,
        sessions,
        mounts: createMounts(profile.mounts, []),
        decide: options.decide ?? unexpected,
      };
      const outcome = await capability.run(args, context);
      capability.output.parse(JSON.parse(JSON.stringify(outcome.result)));
      return outcome;
    },
    [Symbol.asyncDispose]: async () => {
      await processes[Symbol.asyncDispose]();
      await container[Symbol.asyncDispose]();
    },
  };
}
