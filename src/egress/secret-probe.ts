import { asGatewayError } from "../errors.ts";
import type { Secret } from "../policy/secret.ts";
import { readSecret } from "./secret-source.ts";

const TIMEOUT_MS = 5_000;

/** Why a secret can't be had now; it names the secret, never its value. A command isn't tried: it may ask a person for a finger. */
export async function secretProblem(secret: Pick<Secret, "name" | "source">): Promise<string | undefined> {
  if ("command" in secret.source) return undefined;
  try {
    await readSecret(secret, AbortSignal.timeout(TIMEOUT_MS));
    return undefined;
  } catch (error) {
    return asGatewayError(error).message;
  }
}
