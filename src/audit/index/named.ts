import { ECOSYSTEMS } from "../../policy/ecosystems/ecosystem.ts";
import { namingOf, purlOf } from "../../policy/ecosystems/naming.ts";
import { hostAncestors, readHost } from "../../policy/host.ts";
import type { RecordBody } from "../record.ts";
import type { Field } from "./schema.ts";
import { isObject, leaves, textsIn } from "./walk.ts";

/** Of one record; more are not found by it. */
const MAX_HOSTS = 64;
/** URLs of one record that are looked at: most may name the same host, or none. */
const MAX_URLS = 1_000;
/** Of one host, the outermost: `*.example.org` finds it however deep it lies. An agent may write URLs whose hosts have a hundred labels. */
const MAX_DOMAINS = 8;
const MAX_PACKAGES = 256;
const MAX_PURL_CHARS = 1_000;
/** What can't be a part of a host in a URL that stands in other text. */
const AUTHORITY = /^[^\s/?#"'`<>\\|;,(){}]{1,512}/u;

export type Term = readonly [Field, string];

/** Hosts that a connection leads to, that a call acts on, or that stand in a URL in its arguments. */
export function hostTerms(body: RecordBody): Term[] {
  const hosts = new Set<string>();
  const add = (text: unknown) => {
    if (hosts.size >= MAX_HOSTS) return;
    const host = typeof text === "string" && text.length <= 512 ? readHost(text)?.host : undefined;
    if (host !== undefined) hosts.add(host);
  };
  if (body.kind === "intent") {
    if (isObject(body.request) && isObject(body.request["resource"])) add(body.request["resource"]["host"]);
    for (const it of hostsInUrls(body.arguments)) add(it);
  } else if (isObject(body.facts)) add(body.facts["host"]);
  const domains = new Set([...hosts].flatMap((it) => hostAncestors(it).slice(-MAX_DOMAINS)));
  return [...[...hosts].map((it) => ["host", it] as const), ...[...domains].map((it) => ["domain", it] as const)];
}

/** In all texts of a value together, each once. Linear, whatever the texts are. */
function hostsInUrls(value: unknown): Set<string> {
  const found = new Set<string>();
  let urls = 0;
  for (const text of leaves(value)) {
    for (let at = text.indexOf("://"); at !== -1; at = text.indexOf("://", at + 3)) {
      urls += 1;
      if (urls > MAX_URLS) return found;
      const authority = AUTHORITY.exec(text.slice(at + 3, at + 3 + 512))?.[0] ?? "";
      const place = authority.slice(authority.lastIndexOf("@") + 1);
      const bracketed = /^\[[0-9a-fA-F:.]+\]/.exec(place)?.[0];
      found.add(bracketed ?? place.split(":", 1)[0] ?? "");
    }
  }
  return found;
}

/** Packages that entered or were refused, or that a call asked for. */
export function packageTerms(body: RecordBody): Term[] {
  const terms = new Map<string, Term>();
  const add = (...given: Term[]) => {
    for (const it of given) if (terms.size < 4 * MAX_PACKAGES) terms.set(it.join("\0"), it);
  };
  for (const it of purlsIn(body)) add(...namesOf(it));
  if (body.kind === "event" && isObject(body.facts) && !("purl" in body.facts)) {
    const { ecosystem, name, version } = body.facts;
    const known = ECOSYSTEMS.find((it) => it === ecosystem);
    if (known !== undefined && typeof name === "string" && name !== "" && name.length <= MAX_PURL_CHARS) {
      const purl = spelt(known, name, typeof version === "string" ? version : undefined);
      add(["package", name], ["package", `${known}:${name}`], ...(purl === undefined ? [] : namesOf(purl)));
    }
  }
  return [...terms.values()];
}

function purlsIn(body: RecordBody): string[] {
  const purls: unknown[] = [];
  if (body.kind === "intent" && isObject(body.request)) {
    const { context, resource } = body.request;
    if (isObject(context)) purls.push(...textsIn(context["packages"]));
    if (isObject(resource) && isObject(resource["facts"])) purls.push(resource["facts"]["purl"]);
  } else if (body.kind !== "intent" && isObject(body.facts)) {
    purls.push(body.facts["purl"], ...textsIn(body.facts["packages"]));
  }
  return purls.filter(
    (it) => typeof it === "string" && it.startsWith("pkg:") && it.length <= MAX_PURL_CHARS,
  ) as string[];
}

function spelt(ecosystem: (typeof ECOSYSTEMS)[number], name: string, version: string | undefined): string | undefined {
  const naming = namingOf(ecosystem);
  const read = naming.readName(name);
  return read === undefined ? undefined : purlOf(naming, read, version);
}

/** `pkg:npm/%40acme/x@1.0.0` is also `pkg:npm/%40acme/x`, `@acme/x` and `npm:@acme/x`. */
function namesOf(purl: string): Term[] {
  const end = purl.search(/[?#]/);
  const bare = end === -1 ? purl : purl.slice(0, end);
  const at = bare.indexOf("@", bare.lastIndexOf("/"));
  const whole = at === -1 ? bare : bare.slice(0, at);
  const terms: Term[] = [
    ["package", bare],
    ["package", whole],
    ["purl", whole],
  ];
  const [type = "", ...parts] = whole.slice("pkg:".length).split("/");
  for (const ecosystem of ECOSYSTEMS) {
    const [own, ...vendor] = namingOf(ecosystem).purlType.split("/");
    if (own !== type || vendor.some((it, index) => it !== parts[index])) continue;
    // Maven writes a colon where purls have a slash.
    const name = parts
      .slice(vendor.length)
      .map(decoded)
      .join(ecosystem === "maven" ? ":" : "/");
    terms.push(["package", name], ["package", `${ecosystem}:${name}`]);
  }
  return terms;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
