import { z } from "zod";
import { path as pathText, plain, WORKSPACE } from "../capability/fields.ts";
import { GatewayError } from "../errors.ts";
import { normalisePath, pathAncestors } from "../policy/facts.ts";
import { readHost } from "../policy/host.ts";
import type { Fact } from "../policy/request.ts";
import { wholeText } from "./pattern.ts";
import type { Parameter, ParameterType } from "./skill.ts";

const MAX_HOST_CHARS = 262;
const MAX_URL_CHARS = 4_096;

/** Of a parameter, in its one spelling. */
export type Value = string | number | boolean | readonly string[];

/** By the parameter's name; what is optional and not given is absent. */
export type Values = Readonly<Record<string, Value | undefined>>;

type Field = z.ZodType<Value | undefined>;

/** What a call's arguments must be. What it gives back is normalised: policy, the record and the program see one spelling of a path, a host, a URL. */
export function inputSchema(parameters: readonly Parameter[]): z.ZodObject<Readonly<Record<string, Field>>> {
  return z.strictObject(
    Object.fromEntries(
      parameters.map((parameter) => {
        const field: Field = fieldOf(parameter.type);
        const { default: initial } = parameter;
        // Unlike `default`, it is read as if it had been given.
        const whole = initial !== undefined ? field.prefault(initial) : parameter.required ? field : field.optional();
        return [parameter.name, whole.describe(parameter.description)];
      }),
    ),
  );
}

/** One value. */
export function fieldOf(type: ParameterType): z.ZodType<Value> {
  switch (type.kind) {
    case "string":
      return textField(type);
    case "enum":
      return z.enum([...type.values]);
    case "path":
      return pathText.transform((text, context) => {
        try {
          return normalisePath(text, WORKSPACE);
        } catch (error) {
          if (!(error instanceof GatewayError)) throw error;
          context.addIssue(error.message.replace(/^path: /, ""));
          return z.NEVER;
        }
      });
    case "host":
      return spelt(MAX_HOST_CHARS, readHostAndPort, "must be a host's name or address, with `:` and a port if need be");
    case "url":
      return spelt(MAX_URL_CHARS, readUrl, "must be an http or https URL without user, password and fragment");
    case "integer":
      return z.int().min(type.minimum).max(type.maximum);
    case "boolean":
      return z.boolean();
    case "strings":
      return z.array(plain(type.maxLength)).max(type.maxItems);
  }
}

function textField({ minLength, maxLength, pattern }: ParameterType & { kind: "string" }): z.ZodType<string> {
  const text = plain(maxLength).min(minLength);
  if (pattern === undefined) return text;
  // The pattern is not tried on a text that is too long: its time may grow with a power of the length.
  return plain(maxLength)
    .min(minLength)
    .max(maxLength, { abort: true })
    .regex(wholeText(pattern), `must match \`${pattern}\` as a whole`);
}

function spelt(maxChars: number, read: (text: string) => string | undefined, message: string): z.ZodType<string> {
  return plain(maxChars)
    .min(1)
    .transform((text, context) => {
      const spelling = read(text);
      if (spelling !== undefined) return spelling;
      context.addIssue(message);
      return z.NEVER;
    });
}

/** `example.org`, `example.org:8443`, `2001:db8::1`, `[2001:db8::1]:8443`; undefined when it is none. */
function readHostAndPort(text: string): string | undefined {
  const [whole, address, name, digits] = /^(?:(\[[^\]]*\])|([^:]*))(?::(\d{1,5}))?$/.exec(text) ?? [];
  const host = readHost(whole === undefined ? text : (address ?? name ?? ""))?.host;
  if (host === undefined || digits === undefined) return host;
  const port = Number(digits);
  return port >= 1 && port <= 65_535 ? `${bracketed(host)}:${port}` : undefined;
}

/** As WHATWG's parser writes it, and with the host as policy spells it. */
function readUrl(text: string): string | undefined {
  if (!URL.canParse(text)) return undefined;
  const url = new URL(text);
  const host = readHost(url.hostname)?.host;
  if (!/^https?:$/.test(url.protocol) || host === undefined) return undefined;
  if (url.username !== "" || url.password !== "" || url.hash !== "" || text.includes("#")) return undefined;
  url.hostname = bracketed(host);
  return url.href;
}

function bracketed(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}

/** The Cedar record type of the context that `factsOf` gives. */
export function contextType(parameters: readonly Parameter[]): string {
  const attributes = parameters.map(({ name, type, required, default: initial }) => {
    const isGiven = required || initial !== undefined;
    return `${JSON.stringify(name)}${isGiven ? "" : "?"}: ${CEDAR_TYPES[type.kind]}`;
  });
  return attributes.length === 0 ? "{}" : `{ ${attributes.join(", ")} }`;
}

const CEDAR_TYPES: Readonly<Record<ParameterType["kind"], string>> = {
  string: "String",
  enum: "String",
  path: "Path",
  host: "String",
  url: "String",
  integer: "Long",
  boolean: "Bool",
  strings: "Set<String>",
};

/** The values as policy sees them. */
export function factsOf(parameters: readonly Parameter[], args: Values): Record<string, Fact> {
  return Object.fromEntries(
    parameters.flatMap(({ name }) => {
      const value = Object.hasOwn(args, name) ? args[name] : undefined;
      return value === undefined ? [] : [[name, value]];
    }),
  );
}

/** The deepest directory, or the path itself, that all paths of a call lie in; undefined where it has none. So policy can speak of all of them at once. */
export function withinOf(parameters: readonly Parameter[], args: Values): string | undefined {
  const [first, ...others] = pathFacts(parameters).flatMap((name) => {
    const value = Object.hasOwn(args, name) ? args[name] : undefined;
    return typeof value === "string" ? [value] : [];
  });
  if (first === undefined) return undefined;
  const holds = (directory: string) => others.every((it) => it === directory || pathAncestors(it).includes(directory));
  return [first, ...pathAncestors(first)].find(holds) ?? "/";
}

/** Those that are entities for Cedar, not strings. */
export function pathFacts(parameters: readonly Parameter[]): string[] {
  return parameters.filter(({ type }) => type.kind === "path").map(({ name }) => name);
}
