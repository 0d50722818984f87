import { printable } from "../lib/text.ts";
import { userName } from "../lib/user.ts";
import type { Principal } from "../policy/request.ts";

/** Over stdio the caller is the operating system's user; the client's name is what it says of itself, a label and no proof. */
export function stdioPrincipal(client: { name: string; version: string } | undefined): Principal {
  const label = (text: string | undefined) => printable(text ?? "unknown", 100);
  return {
    id: `local:${userName()}`,
    client: { name: label(client?.name), version: label(client?.version) },
    transport: "stdio",
  };
}
