import type { AuditRecord, Json } from "../audit/record.ts";

// What other versions wrote may lack a fact or have it in another form: what can't be read counts as absent.

/** An own member of an object; `undefined` of anything else. */
export function factOf(value: Json | undefined, name: string): Json | undefined {
  if (typeof value !== "object" || value === null || Array.isArray(value) || !Object.hasOwn(value, name))
    return undefined;
  return (value as { readonly [name: string]: Json })[name];
}

/** A text that is there and not empty. */
export function textOf(value: Json | undefined, name: string): string | undefined {
  const found = factOf(value, name);
  return typeof found === "string" && found !== "" ? found : undefined;
}

export function numberOf(value: Json | undefined, name: string): number | undefined {
  const found = factOf(value, name);
  return typeof found === "number" ? found : undefined;
}

/** `undefined` of what is no list. */
export function listOf(value: Json | undefined, name: string): readonly Json[] | undefined {
  const found = factOf(value, name);
  return Array.isArray(found) ? found : undefined;
}

/** `undefined` when it is no list, or something in it is no text. */
export function textsOf(value: Json | undefined, name: string): readonly string[] | undefined {
  const found = listOf(value, name);
  return found?.every((it) => typeof it === "string") ? found : undefined;
}

/** A code of the gateway's, as a count's name: nothing that somebody else chose. */
export function codeOf(value: Json | undefined, name: string): string {
  const found = textOf(value, name);
  return found !== undefined && /^[A-Za-z][A-Za-z_-]{0,39}$/.test(found) ? found : "other";
}

/** What an event tells; `undefined` of another record. A log may have events that this version does not know. */
export function eventOf(
  { body }: AuditRecord,
  ...names: readonly string[]
): { readonly event: string; readonly sessionId?: string; readonly callId?: string; readonly facts: Json } | undefined {
  return body.kind === "event" && names.includes(body.event) ? body : undefined;
}
