import type { SecretSource } from "../policy/secret.ts";
import { createSecrets } from "./secret-cache.ts";

/** How old the value of a secret may be, in ms. */
const SECRET_MS = 300_000;

/**
 * The value of a secret of the gateway's own, read when it is needed and again as it ages. It goes to no host by the sandbox's ways.
 * @param closing ends what is being read
 * @param onValue is told of every value, before anybody has it: for whoever keeps secrets out of what is written down
 */
export function readAsItAges(
  name: string,
  source: SecretSource,
  closing: AbortSignal,
  onValue?: (name: string, value: string) => void,
): (signal: AbortSignal) => Promise<string> {
  const secret = { name, source, refreshMs: SECRET_MS, hosts: [] };
  // Whoever asks is told of a failure: there is nobody else to tell.
  const secrets = createSecrets([secret], {
    signal: closing,
    onFailure: () => undefined,
    ...(onValue && { onValue }),
  });
  return (asking) => secrets.value(name, asking);
}
