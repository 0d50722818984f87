/** Of one connection (RFC 9110 §7.6.1), and what is meant for a proxy. */
const HOP_BY_HOP = new Set([
  "connection",
  "expect",
  "http2-settings",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authentication-info",
  "proxy-authorization",
  "proxy-connection",
  "te",
  "trailer",
  "upgrade",
]);

/**
 * Headers to be sent on, in their order and spelling: a flat list of names and values. Framing (Content-Length, Transfer-Encoding) stays:
 * the parser has refused what is ambiguous.
 */
export function forwarded(raw: readonly string[], isUpgrade = false): string[] {
  const named = pairs(raw)
    .filter(([name]) => name.toLowerCase() === "connection")
    .flatMap(([, value]) =>
      value
        .toLowerCase()
        .split(",")
        .map((it) => it.trim()),
    );
  // A peer that names Host or the framing as its own connection's would have it removed.
  const own = new Set(named.filter((it) => !/^(host|content-length|transfer-encoding|authorization|cookie)$/.test(it)));
  const kept = pairs(raw).filter(([name]) => !HOP_BY_HOP.has(name.toLowerCase()) && !own.has(name.toLowerCase()));
  if (!isUpgrade) return kept.flat();
  const protocol = pairs(raw).filter(([name]) => name.toLowerCase() === "upgrade");
  return [...kept.flat(), "Connection", "Upgrade", ...protocol.flat()];
}

export function pairs(raw: readonly string[]): [name: string, value: string][] {
  const found: [string, string][] = [];
  for (let at = 0; at + 1 < raw.length; at += 2) found.push([raw[at] ?? "", raw[at + 1] ?? ""]);
  return found;
}
