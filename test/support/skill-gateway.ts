import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import type { Asked } from "../../src/approval/approval.ts";
import type { RecordBody } from "../../src/audit/record.ts";
import { call } from "../../src/call/call.ts";
import type { CallPorts, CallResult } from "../../src/call/ports.ts";
import type { Container } from "../../src/container/container.ts";
import { createLog } from "../../src/log.ts";
import { createMounts } from "../../src/mounts/mounts.ts";
import { assembleBundle } from "../../src/policy/assemble.ts";
import { alone, canEverPermit, decide } from "../../src/policy/decide.ts";
import { holdPolicy, type PolicyHolder } from "../../src/policy/in-force.ts";
import type { Principal } from "../../src/policy/request.ts";
import { Processes } from "../../src/session/processes.ts";
import type { Session, SessionTable } from "../../src/session/session.ts";
import { Turns } from "../../src/session/turns.ts";
import { useRequest } from "../../src/skill/use-skill.ts";
import { openTools, type Tools } from "../../src/tools.ts";
import { NO_BODIES } from "./bodies.ts";
import { closedEgress, PRINCIPAL } from "./capability-context.ts";
import { localContainer } from "./local-container.ts";
import { folderOf } from "./skill.ts";

export const PERMIT_SKILLS = 'permit (principal, action in Glovebox::Action::"skills", resource);';

export interface SkillGateway {
  readonly tools: Tools;
  readonly policy: PolicyHolder;
  readonly records: RecordBody[];
  /** What people were asked; all of it is allowed. */
  readonly asked: Asked[];
  /** Where the sandbox's `/` is. */
  readonly root: string;
  readonly session: Session;
  call(tool: string, args?: unknown, principal?: Principal): Promise<CallResult>;
  /** Another policy, from now on. */
  setPolicy(cedar: string, profile?: string): void;
}

/** The tools of skills on the real spine, with real policy; their programs run on this machine, below a folder of the test's. */
export async function skillGateway(
  files: Readonly<Record<string, string | Buffer>>,
  { cedar = PERMIT_SKILLS, profile = "" }: { readonly cedar?: string; readonly profile?: string } = {},
): Promise<SkillGateway> {
  const root = mkdtempSync(join(tmpdir(), "glovebox-sandbox-"));
  onTestFinished(() => rmSync(root, { recursive: true, force: true }));
  mkdirSync(join(root, "workspace"));
  const container = below(root);
  const tools = await openTools(
    { skillDirectories: [folderOf(files)] },
    {
      mayPermit: (it) => canEverPermit(policy.current, it),
      mayUse: (skill, principal) => decide(policy.current, useRequest(skill, principal)).outcome !== "deny",
    },
  );
  if (tools.refused.length > 0) throw new Error(JSON.stringify(tools.refused));
  const policyOf = (text: string, stated: string) => alone(bundleOf(tools, text, stated), "test");
  const policy = holdPolicy(policyOf(cedar, profile));
  const processes = new Processes({
    container,
    profile: () => policy.current.profile,
    onEnded: () => undefined,
    environment: {},
  });
  onTestFinished(async () => {
    await processes[Symbol.asyncDispose]();
    await container[Symbol.asyncDispose]();
  });
  const session: Session = { id: "ses-test", container, processes, egress: closedEgress(), turns: new Turns() };
  const sessions = {
    idOf: (_: Principal, id: string | undefined) => id ?? "ses-test",
    lease: () => ({ session: async () => session, [Symbol.asyncDispose]: async () => undefined }),
  } as unknown as SessionTable;
  const records: RecordBody[] = [];
  const asked: Asked[] = [];
  const ports: CallPorts = {
    find: tools.find,
    accounts: {
      asked: (request) => request,
      reserve: (request) => ({ decision: decide(policy.current, request), request }),
      relief: () => undefined,
      run: () => new DisposableStack(),
    },
    policy,
    approvals: {
      approve: async (it) => {
        asked.push(it);
        return { approved: true, approvalId: "apr", approver: "local:ada", channel: "terminal" };
      },
      grants: () => [],
      forget: () => undefined,
    },
    audit: { append: async (it) => void records.push(it) },
    bodies: NO_BODIES,
    sessions,
    mounts: createMounts([], []),
    log: createLog("silent"),
  };
  const { signal } = new AbortController();
  return {
    tools,
    policy,
    records,
    asked,
    root,
    session,
    call: (tool, args, principal = PRINCIPAL) =>
      call(tools.meant({ tool, args, principal, signal, progress: () => undefined }), ports),
    setPolicy: (text, stated = "") => policy.replace(policyOf(text, stated)),
  };
}

/** @throws Error naming what is wrong with it */
export function bundleOf({ language }: Pick<Tools, "language">, cedar: string, profile = "") {
  const files = new Map([
    ["bundle.yaml", "name: test\nversion: 1.0.0\n"],
    ["profile.yaml", profile],
    ["t.cedar", cedar],
  ]);
  const checked = assembleBundle(files, new Map(), language);
  if (checked.valid) return checked.bundle;
  throw new Error(checked.problems.map((it) => `${it.message}; ${it.fix}`).join("\n"));
}

/** `/workspace` and `/home/agent` are below a folder of this machine, and everything else where it is. */
function below(root: string): Container {
  const inner = localContainer();
  const at = (path: string) => (/^\/(workspace|home\/agent)(\/|$)/.test(path) ? join(root, path) : path);
  return {
    ...inner,
    run: (spec, signal) => {
      const [program, ...rest] = spec.argv;
      const argv = [at(program), ...rest.map((it) => it.replace(/(^|=)(\/.*)$/s, (_, sign, path) => sign + at(path)))];
      return inner.run({ ...spec, argv: argv as [string, ...string[]], cwd: at(spec.cwd) }, signal);
    },
    stat: (path, signal) => inner.stat(at(path), signal),
    readFile: (path, maxBytes, signal) => inner.readFile(at(path), maxBytes, signal),
    writeFile: (path, content, options, signal) => inner.writeFile(at(path), content, options, signal),
    importTree: (path, entries, signal) => inner.importTree(at(path), entries, signal),
    exportTree: (path, limits, signal) => inner.exportTree(at(path), limits, signal),
  };
}
