import { hash, randomBytes } from "node:crypto";
import canonicalize from "canonicalize";
import { GatewayError } from "../errors.ts";
import type { Asked, Detail, Question } from "./approval.ts";
import { patternOf } from "./pattern.ts";

/**
 * The question that is put for a request. Its id has 128 random bits, so that only who was asked can answer.
 * @throws GatewayError INTERNAL for a request that JSON cannot say: nobody could tell what they allow
 */
export function questionOf(asked: Asked, askedAtMs: number, expiresAtMs: number): Question {
  const { request, decision, sessionId, callId } = asked;
  const pattern = patternOf(asked)?.text;
  const question = {
    id: `apr_${randomBytes(16).toString("hex")}`,
    sessionId,
    principal: request.principal,
    ...(callId !== undefined && { callId }),
    action: request.action,
    details: [...asked.details, factsDetail(asked)],
    policies: decision.policies,
    bundle: decision.bundle,
    ...(pattern !== undefined && { pattern }),
    askedAt: new Date(askedAtMs).toISOString(),
    expiresAt: new Date(expiresAtMs).toISOString(),
  };
  return { ...question, digest: questionDigest(question) };
}

/**
 * SHA-256 of the RFC 8785 form of a question without its `digest`, so that whoever shows one can check that it is whole: what an answer
 * names is what was shown. What policy saw is in it by the digest in the last detail.
 */
export function questionDigest(question: Omit<Question, "digest"> | Question): string {
  return hash("sha256", canonical({ ...question, digest: undefined }));
}

/** Equal for requests between which a person would see no difference: of one session, principal and policy. */
export function sameness({ request, decision, sessionId, details }: Asked): string {
  const { principal, action, resource, context } = request;
  // How long it may take is the agent's to vary, and makes no other request of it. What a skill calls so may be anything.
  const facts = "skill" in context ? context : { ...context, timeoutMs: undefined };
  const shown = details.filter((it) => it.label !== "timeoutMs");
  const { policies, bundle } = decision;
  return hash("sha256", canonical([sessionId, principal.id, action, resource, facts, shown, policies, bundle.digest]));
}

/** Facts are many, and most are shown in better words already. */
function factsDetail({ request: { resource, context } }: Asked): Detail {
  return { label: "facts", text: `sha256 ${hash("sha256", canonical({ resource, context }))}` };
}

function canonical(value: unknown): string {
  try {
    return canonicalize(value) ?? "";
  } catch (error) {
    throw new GatewayError("INTERNAL", "a request that is to be approved is no JSON", { cause: error });
  }
}
