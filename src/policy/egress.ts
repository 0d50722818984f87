import { z } from "zod";
import { canonicalAddress, readHost } from "./host.ts";
import { type HostPattern, readHostPattern } from "./host-pattern.ts";
import { requestPath } from "./request-path.ts";

/** A host pattern, read; problems are the schema's. */
const pattern = z.string().transform((text, context) => {
  const read = readHostPattern(text);
  if ("pattern" in read) return { text, pattern: read.pattern };
  context.addIssue(`\`${text}\` ${read.problem}`);
  return z.NEVER;
});

const port = z.int().min(1).max(65_535);

const rule = z.strictObject({
  host: pattern,
  /** Without it: 443, by HTTPS. */
  ports: z.array(port).min(1).optional(),
  /** With one of these two the proxy reads the requests: TLS to such a host ends there. */
  methods: z
    .array(z.string().regex(/^[A-Z]{1,20}$/, "must be a method such as GET"))
    .min(1)
    .optional(),
  /** Each with all that lies below it. */
  paths: z
    .array(
      z
        .string()
        .refine(
          (it) => it.isWellFormed() && requestPath(encodeURI(it)) === it,
          "must be a path such as /api, without a slash at its end",
        ),
    )
    .min(1)
    .optional(),
});

/** `example.org`, `example.org:8443`, `[2001:db8::1]:8443`, or a rule. What is wrong is told of the rule that the text stands for. */
const grant = z.preprocess((it) => (typeof it === "string" ? ruleOf(it) : it), rule);

/** An IPv6 address without brackets has no port: its last group would be taken for one. */
function ruleOf(text: string): z.input<typeof rule> {
  const [whole, address, name, number] = /^(?:\[([^\]]*)\]|([^:]*))(?::(\d{1,5}))?$/.exec(text) ?? [];
  if (whole === undefined) return { host: text };
  return { host: address ?? name ?? "", ...(number === undefined ? {} : { ports: [Number(number)] }) };
}

export type EgressGrant = z.output<typeof rule>;

/** What the sandbox may reach: a bundle's `profile.yaml`, at `egress`. */
export const egressSchema = z.strictObject({
  allow: z.array(grant).superRefine(refuseTwice).default([]),
  /** Named lists of hosts: `policies/groups`. */
  groups: z
    .array(z.string().regex(/^[a-z0-9][a-z0-9-]{0,63}$/, "must be the name of a group, such as git-hosting"))
    .refine((it) => new Set(it).size === it.length, "a group is named twice")
    .default([]),
  /**
   * What may be reached although it lies in a private network or on this computer: exact names, whatever they resolve to, and CIDR
   * ranges. It grants nothing by itself.
   */
  private: z
    .array(pattern.refine((it) => it.pattern.kind !== "below", "must be an exact name or a CIDR range"))
    .max(256)
    .default([]),
  /** What a placeholder of a secret leads to that is sent where it does not belong; it is never let through. */
  onExfiltration: z.enum(["refuse", "end-session"]).default("refuse"),
  /** Addresses of names that are not to be looked up. */
  hosts: z
    .record(
      z.string().refine(isName, "must be a host's name, in lower case"),
      z.string().refine(isAddress, "must be an IP address"),
    )
    .default({}),
});

export type Egress = z.output<typeof egressSchema>;

function isName(text: string): boolean {
  const host = readHost(text);
  return host?.kind === "name" && host.host === text;
}

function isAddress(text: string): boolean {
  return readHost(text)?.kind === "address" && canonicalAddress(text) === text;
}

/** A line of a group, or what is wrong with it. */
export function readGroupLine(line: string): EgressGrant | { readonly problem: string } {
  const read = grant.safeParse(line);
  return read.success ? read.data : { problem: read.error.issues.map((it) => it.message).join("; ") };
}

function refuseTwice(grants: readonly EgressGrant[], context: z.RefinementCtx): void {
  const seen = new Map<string, number>();
  for (const [index, it] of grants.entries()) {
    const text = "group" in it ? `group:${it.group}` : it.host.text;
    const key =
      "group" in it ? text : JSON.stringify([text, it.ports?.toSorted(), it.methods?.toSorted(), it.paths?.toSorted()]);
    const first = seen.get(key);
    if (first !== undefined)
      context.addIssue({
        code: "custom",
        path: [index],
        message: `\`${text}\` is granted twice: it is number ${first + 1} already`,
      });
    seen.set(key, first ?? index);
  }
}

/** The Cedar policy that a grant stands for. */
export function grantPolicy({ host, ports, methods, paths }: EgressGrant, id: string): string {
  const conditions = [
    ...(ports
      ? [`${JSON.stringify(ports)}.contains(context.port)`]
      : ["context.port == 443", 'context.scheme == "https"']),
    ...(methods ? [`context has method && ${JSON.stringify(methods)}.contains(context.method)`] : []),
    ...(paths
      ? [
          `context has path && (${paths.map((it) => `context.path in Glovebox::Path::${JSON.stringify(it)}`).join(" || ")})`,
        ]
      : []),
  ];
  const { head, condition } = scopeOf(host.pattern);
  const all = [...condition, ...conditions].map((it) => `  ${it}`).join(" &&\n");
  return `@id("egress.${id}")\npermit (principal, action == Glovebox::Action::"connect", ${head})\nwhen {\n${all}\n};\n`;
}

function scopeOf(pattern: HostPattern): { readonly head: string; readonly condition: readonly string[] } {
  switch (pattern.kind) {
    case "exact":
      return { head: `resource == Glovebox::Host::${JSON.stringify(pattern.host)}`, condition: [] };
    case "below": {
      const domain = `Glovebox::Host::${JSON.stringify(pattern.domain)}`;
      return { head: `resource in ${domain}`, condition: [`resource != ${domain}`] };
    }
    case "range":
      return {
        head: "resource",
        condition: [`context has address && context.address.isInRange(ip(${JSON.stringify(pattern.cidr)}))`],
      };
  }
}
