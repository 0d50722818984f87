import type { Check } from "./check.ts";
import { agentImage } from "./checks/agent-image.ts";
import { approvals } from "./checks/approvals.ts";
import { approvalsRefused } from "./checks/approvals-refused.ts";
import { callIntents } from "./checks/call-intents.ts";
import { checkpoints } from "./checks/checkpoints.ts";
import { CONTAINER_CHECKS } from "./checks/container.ts";
import { decisionsNamed } from "./checks/decisions-named.ts";
import { deniedCalls } from "./checks/denied-calls.ts";
import { egressGranted } from "./checks/egress-granted.ts";
import { egressRefused } from "./checks/egress-refused.ts";
import { INSPECTED_CHECKS } from "./checks/inspected.ts";
import { interruptedCalls } from "./checks/interrupted-calls.ts";
import { invalidCalls } from "./checks/invalid-calls.ts";
import { limits } from "./checks/limits.ts";
import { logVerifies } from "./checks/log-verifies.ts";
import { machineProcess } from "./checks/machine-process.ts";
import { packagesAdmitted } from "./checks/packages-admitted.ts";
import { packagesRefused } from "./checks/packages-refused.ts";
import { policyInForce } from "./checks/policy-in-force.ts";
import { policyRefused } from "./checks/policy-refused.ts";
import { principalsNamed } from "./checks/principals-named.ts";
import { secretsAbsent } from "./checks/secrets-absent.ts";
import { secretsOutside } from "./checks/secrets-outside.ts";
import { sessionIsolation } from "./checks/session-isolation.ts";
import { sessionRefused } from "./checks/session-refused.ts";
import { sessionsEnded } from "./checks/sessions-ended.ts";
import { sessionsInspected } from "./checks/sessions-inspected.ts";
import { skillsPinned } from "./checks/skills-pinned.ts";
import { skillsRefused } from "./checks/skills-refused.ts";

/** Every question to the log, in the order in which reports have the answers. */
export const CHECKS: readonly Check[] = [
  logVerifies,
  checkpoints,
  callIntents,
  deniedCalls,
  invalidCalls,
  decisionsNamed,
  principalsNamed,
  interruptedCalls,
  policyInForce,
  policyRefused,
  approvals,
  approvalsRefused,
  sessionIsolation,
  sessionRefused,
  sessionsEnded,
  agentImage,
  sessionsInspected,
  ...CONTAINER_CHECKS,
  ...INSPECTED_CHECKS,
  machineProcess,
  limits,
  egressGranted,
  egressRefused,
  secretsOutside,
  secretsAbsent,
  packagesAdmitted,
  packagesRefused,
  skillsPinned,
  skillsRefused,
];

export const CHECK_IDS: ReadonlySet<string> = new Set(CHECKS.map((it) => it.id));
