import { z } from "zod";
import { auditSchema } from "./audit.ts";
import { egressSchema } from "./egress.ts";
import { commonPrivate } from "./merge-hosts.ts";
import { mergeMounts } from "./merge-mounts.ts";
import { PACKAGES } from "./merge-packages.ts";
import { BY_CEDAR, each, type MergeNode, outermost, rule, section, strictest } from "./merge-rule.ts";
import { mergeSecrets } from "./merge-secrets.ts";
import { mountsSchema } from "./mount.ts";
import { ISOLATION_LEVELS, type Profile } from "./profile.ts";
import { profileSecrets } from "./profile-secrets.ts";

const smallest = rule(z.number(), (outer, inner) => ({ value: Math.min(outer, inner) }));
const limits = each(smallest);

/** How each key of a profile is merged. INVARIANT: what comes out is what the outer layer states, or narrower. */
export const PROFILE_RULES = section({
  image: outermost(z.string()),
  isolation: section({ floor: strictest(z.enum(ISOLATION_LEVELS), ISOLATION_LEVELS) }),
  resources: limits,
  timeouts: limits,
  output: limits,
  files: limits,
  mounts: rule(mountsSchema, mergeMounts),
  snapshots: limits,
  limits,
  egress: section({
    allow: BY_CEDAR,
    groups: BY_CEDAR,
    private: rule(z.array(z.string()), (outer, inner) => ({ value: commonPrivate(outer, inner) })),
    onExfiltration: strictest(egressSchema.shape.onExfiltration.unwrap(), ["refuse", "end-session"]),
    hosts: each(outermost(z.string())),
  } satisfies Record<keyof Profile["egress"], MergeNode>),
  packages: PACKAGES,
  budgets: section({ principal: limits, session: limits }),
  logging: limits,
  audit: section({
    // No layer leaves out of the log what an outer one wants there.
    redact: outermost(auditSchema.shape.redact.unwrap()),
    bodies: outermost(auditSchema.shape.bodies.unwrap()),
    retention: each(outermost(z.number())),
  } satisfies Record<keyof Profile["audit"], MergeNode>),
  secrets: rule(profileSecrets, mergeSecrets),
  writableRoot: rule(z.boolean(), (outer, inner) => ({ value: outer && inner })),
} satisfies Record<keyof Profile, MergeNode>);
