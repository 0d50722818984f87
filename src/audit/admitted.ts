import { z } from "zod";
import { GatewayError } from "../errors.ts";
import { printable } from "../lib/text.ts";
import { ECOSYSTEMS } from "../policy/ecosystems/ecosystem.ts";
import type { AuditRecord } from "./record.ts";

/** Facts of `package-admitted`, as they are written. */
export const admittedSchema = z.strictObject({
  purl: z.string().regex(/^pkg:[a-z]+(\/[!-.0-~]+)+$/),
  ecosystem: z.enum(ECOSYSTEMS),
  name: z.string().min(1),
  version: z.string().min(1),
  file: z.string().min(1),
  registry: z.string().min(1),
  integrity: z
    .string()
    .regex(/^(sha512|sha384|sha256|sha1|h1)-[0-9a-f]+$/)
    .exactOptional(),
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
  bytes: z.int().min(0),
  licenses: z.array(z.string()).readonly(),
  ageHours: z.number().exactOptional(),
  requested: z.boolean(),
  cached: z.boolean(),
  /** By which it was decided; absent when none of its ecosystem were imported. */
  advisories: z.strictObject({ digest: z.string(), importedAt: z.string() }).exactOptional(),
  policies: z.array(z.string()).readonly(),
  /** Of one that a person let in. */
  approvalId: z.string().exactOptional(),
  calls: z.array(z.string()).readonly(),
});

/** A file of a package that entered a sandbox, and the record that says so. */
export interface Admission extends z.infer<typeof admittedSchema> {
  readonly sessionId: string;
  readonly record: Pick<AuditRecord, "chain" | "seq" | "hash" | "time">;
}

/**
 * What a record says of a package that entered; `undefined` for a record of anything else.
 * @throws GatewayError AUDIT_CORRUPT for one that another version of Glovebox wrote, with facts that this one does not know: to pass
 *   over it would leave out a package
 */
export function readAdmission({ chain, seq, hash, time, body }: AuditRecord): Admission | undefined {
  if (body.kind !== "event" || body.event !== "package-admitted") return undefined;
  const { data: facts, error } = admittedSchema.safeParse(body.facts);
  if (facts === undefined || body.sessionId === undefined) {
    const place = `record ${seq} of ${printable(chain, 60)}`;
    throw new GatewayError(
      "AUDIT_CORRUPT",
      `${place} tells of a package in a way that this version of Glovebox does not know; use the version that wrote it`,
      { cause: error },
    );
  }
  return { ...facts, sessionId: body.sessionId, record: { chain, seq, hash, time } };
}
