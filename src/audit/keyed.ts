import { hash } from "node:crypto";
import type { DigestKey } from "./digest-key.ts";
import { type Facts, factsIn, numberIn, textIn } from "./facts.ts";
import type { Json, RecordBody } from "./record.ts";

/**
 * A file of so many bytes keeps its plain SHA-256, by which it can be compared with what the world knows of files. Shorter ones are what people and agents write by hand: `.env`
 * files, passwords, settings of which all but one word is known; whoever knows the rest tries words until the digest fits.
 */
const WHOLE_FILE_BYTES = 4_096;

/** What goes into a call and is no file: nobody outside has to name it. */
const NO_FILES: ReadonlySet<string> = new Set(["stdin", "oldText", "newText", "arguments"]);

interface Scope {
  readonly key: DigestKey;
  /** Whatever the size. */
  readonly always: boolean;
  /** Digests of texts that stand beside them. */
  readonly open: ReadonlySet<string>;
}

/**
 * The body with keyed digests in place of those by which its reader could guess what was written, read, run or asked. `hmacSha256` for `sha256`,
 * `scriptHmacSha256` for `scriptSha256`; where a name does not say what digest it is (`ifHash`, `digest` of a question), the value begins with `hmac-sha256:`. Idempotent.
 * @param always whatever the size: policy keeps a part of the call out of the log
 */
export function withKeyedDigests(body: RecordBody, key: DigestKey, always: boolean): RecordBody {
  switch (body.kind) {
    case "intent": {
      // What nobody has checked may be anything.
      const scope = { key, always: always || body.decision === "invalid", open: openDigests(body.arguments) };
      const { request } = body;
      const args = keyed(body.arguments, scope);
      return { ...body, arguments: args, ...(request !== undefined && { request: keyed(request, scope) }) };
    }
    case "outcome": {
      const scope = { key, always: always || body.status !== "ok", open: NONE };
      const facts = keyed(body.facts, scope);
      return { ...body, facts: body.status === "ok" ? facts : inTexts(facts, key) };
    }
    case "event": {
      if (!body.event.startsWith("approval-"))
        return { ...body, facts: keyed(body.facts, { key, always, open: NONE }) };
      const facts = inTexts(keyed(body.facts, { key, always: true, open: NONE }), key);
      return { ...body, facts: questionsDigest(facts, key) };
    }
  }
}

const NONE: ReadonlySet<string> = new Set();

/** A script that the record has whole is known without its digest, which policies name. */
function openDigests(args: Json): ReadonlySet<string> {
  const script = textIn(factsIn(args), "script");
  return script === undefined ? NONE : new Set([hash("sha256", script)]);
}

function keyed(value: Json, scope: Scope): Json {
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map((it) => keyed(it, scope));
  const facts = factsIn(value);
  return Object.fromEntries(
    Object.entries(facts).map(([name, member]) => {
      if (name === "ifHash") return [name, marked(member, scope.key)];
      if (isDigest(member) && /^sha256$|(?<!mac)Sha256$/.test(name)) {
        if (isOpen(name, member, facts, scope)) return [name, member];
        return [
          name === "sha256" ? "hmacSha256" : `${name.slice(0, -"Sha256".length)}HmacSha256`,
          scope.key.keyed(member),
        ];
      }
      return [name, keyed(member, NO_FILES.has(name) ? { ...scope, always: true } : scope)];
    }),
  );
}

function isOpen(name: string, digest: string, facts: Facts, { always, open }: Scope): boolean {
  if (open.has(digest)) return true;
  // By name and version anybody can have it.
  if (textIn(facts, "purl") !== undefined) return true;
  // A digest without a size, and that of a list of files, of which each may be short, could be of anything.
  if (always || name !== "sha256" || numberIn(facts, "files") !== undefined) return false;
  return (numberIn(facts, "bytes") ?? numberIn(facts, "sizeBytes") ?? 0) >= WHOLE_FILE_BYTES;
}

/** What an approver was shown, and what an error says, has digests in its text: `7 bytes, sha256 …`. */
const IN_TEXT = /(?<![\w-])sha256 ((?:is |of all as JSON )?)([0-9a-f]{64})(?![0-9a-f])/g;

function inTexts(value: Json, key: DigestKey): Json {
  if (typeof value === "string")
    return value.replace(IN_TEXT, (_, words: string, digest: string) => `hmac-sha256 ${words}${key.keyed(digest)}`);
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map((it) => inTexts(it, key));
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, inTexts(member, key)]));
}

/** A question's digest is of all that was shown; but for the content of a file or an input, the log has all of that. */
function questionsDigest(facts: Json, key: DigestKey): Json {
  const known = factsIn(facts);
  return "digest" in known ? { ...known, digest: marked(known["digest"] ?? null, key) } : facts;
}

function marked(value: Json, key: DigestKey): Json {
  return isDigest(value) ? `hmac-sha256:${key.keyed(value)}` : value;
}

function isDigest(value: Json): value is string {
  return typeof value === "string" && /^[0-9a-f]{64}$/.test(value);
}
