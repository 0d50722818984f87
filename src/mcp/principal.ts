import { userInfo } from "node:os";
import { printable } from "../lib/text.ts";
import type { Principal } from "../policy/request.ts";

/** Over stdio the caller is the operating system's user; the client's name is what it says of itself, a label and no proof. */
export function stdioPrincipal(client: { name: string; version: string } | undefined): Principal {
  const label = (text: string | undefined) => printable(text ?? "unknown", 100);
  return {
    id: `local:${userInfo().username}`,
    client: { name: label(client?.name), version: label(client?.version) },
    transport: "stdio",
  };
}
