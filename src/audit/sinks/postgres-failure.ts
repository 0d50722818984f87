import { GatewayError } from "../../errors.ts";
import { codeOf, messageOf } from "../../lib/error.ts";
import { printable } from "../../lib/text.ts";
import { type PostgresSettings, targetOf } from "./postgres-settings.ts";
import type { SinkPorts } from "./sink.ts";

const MAX_CHARS = 300;
const MAKE_SCHEMA = "let its owner run the SQL that `glovebox audit store schema` prints";

/** What a person can do about an error of the server's, by its SQLSTATE (PostgreSQL's documentation, appendix A). */
const KNOWN: { readonly [sqlState: string]: (settings: PostgresSettings) => string } = {
  "28P01": ({ user }) => `the server refuses the password of \`${user}\``,
  "28000": ({ user }) => `the server does not let \`${user}\` in (pg_hba.conf decides)`,
  "3D000": ({ database }) => `there is no database \`${database}\``,
  "3F000": ({ schema }) => `there is no schema \`${schema}\`: ${MAKE_SCHEMA}`,
  "42P01": ({ schema }) => `schema \`${schema}\` lacks a table: ${MAKE_SCHEMA}`,
  "42883": ({ schema }) => `schema \`${schema}\` lacks a function, or is not there: ${MAKE_SCHEMA}`,
  "42501": ({ user }) => `the role \`${user}\` lacks a right: ${MAKE_SCHEMA}, and grant it one of the two roles`,
  "25006": () => "the server is read-only, a standby perhaps",
  "53100": () => "the server's disk is full",
  "53300": () => "the server has too many connections already",
  "55P03": () => "another transaction holds the chain's position, or a table, for too long",
  "57014": () => "the server took too long",
  "57P01": () => "the server shuts down",
  "57P03": () => "the server starts up or shuts down",
};

/**
 * What went wrong with a store, for people: nothing that could act on a terminal, and no secret, which a server may say again that was told it.
 * @param hide takes secrets out, before anything is cut, or a part would stay
 */
export function failureText(error: unknown, settings: PostgresSettings, hide: SinkPorts["hide"]): string {
  const place = `${settings.name} (PostgreSQL at ${targetOf(settings)})`;
  if (error instanceof GatewayError) return `${place}: ${hide(error.message)}`;
  const code = oneLine(hide(codeOf(error) ?? ""));
  const said = oneLine(hide(messageOf(error)));
  // The code is the server's word as well: `__proto__` is none of those that are known.
  const known = Object.hasOwn(KNOWN, code) ? KNOWN[code]?.(settings) : undefined;
  if (known !== undefined) return `${place}: ${known} (${said})`;
  if (/CERT|TLS|SSL|SELF_SIGNED|UNABLE_TO|ISSUER|ERR_OSSL/.test(code)) {
    return `${place}: its certificate is not accepted: ${said}`;
  }
  return `${place}: ${said === "" ? code : said}`;
}

function oneLine(text: string): string {
  return printable(text, MAX_CHARS).replaceAll(/[\n\t]/g, " ");
}
