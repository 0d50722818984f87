import { printable } from "../lib/text.ts";
import type { Secret } from "../policy/secret.ts";
import { ownerOf, type Placeholders } from "./placeholders.ts";
import { placeholdersIn, presentSecret } from "./present.ts";
import { type Destination, isBound, type RequestHead } from "./secret-binding.ts";
import type { Secrets } from "./secret-cache.ts";

/** What a session has of secrets. */
export interface Wallet {
  readonly secrets: readonly Secret[];
  readonly placeholders: Placeholders;
  readonly values: Pick<Secrets, "value">;
}

export type FilledIn =
  /** To be sent. `used` names the secrets in it. */
  | { readonly kind: "filled"; readonly request: RequestHead; readonly used: readonly string[] }
  /** Not to be sent, neither as it was nor in part. `reason` holds no value. */
  | { readonly kind: "refused"; readonly reason: string };

/**
 * The request with every placeholder replaced, or the reason why it must not go. All of them are looked at before any value is read.
 * @throws GatewayError SECRET_UNAVAILABLE, or the signal's reason
 */
export async function fillIn(
  request: RequestHead,
  to: Destination,
  { secrets, placeholders, values }: Wallet,
  signal: AbortSignal,
): Promise<FilledIn> {
  const found = placeholdersIn(request).map((placeholder) => {
    const owner = ownerOf(placeholders, placeholder);
    return { placeholder, secret: secrets.find(({ name }) => name === owner) };
  });
  for (const { secret } of found) {
    if (!secret) return { kind: "refused", reason: "it holds a placeholder that is not of this session" };
    if (!isBound(secret, to, request)) {
      const where = printable(`${request.method} ${to.host}:${to.port}${request.path.split("?", 1)[0]}`, 300);
      return { kind: "refused", reason: `the secret ${secret.name} is not bound to ${where}` };
    }
  }
  let filled = request;
  const used: string[] = [];
  for (const { placeholder, secret } of found) {
    if (!secret) continue;
    const value = await values.value(secret.name, signal);
    const presented = presentSecret({ secret, placeholder, value }, filled);
    if (presented.kind === "refused") return presented;
    filled = presented.request;
    used.push(secret.name);
  }
  return { kind: "filled", request: filled, used };
}
