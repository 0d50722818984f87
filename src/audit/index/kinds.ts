import { GatewayError } from "../../errors.ts";
import type { RecordBody } from "../record.ts";
import type { Filter } from "./filter.ts";

type Kind = RecordBody["kind"];

/** What no record of another kind has; the rest of a filter may be of any. */
const ONLY_OF = {
  principal: ["intent"],
  client: ["intent"],
  tool: ["intent"],
  decision: ["intent"],
  status: ["outcome"],
  code: ["outcome"],
  exitCode: ["outcome", "event"],
  event: ["event"],
} as const satisfies { readonly [field in keyof Filter]?: readonly Kind[] };
type Own = keyof typeof ONLY_OF;

/**
 * Kinds of records among which there may be some that a filter asks for. In the view of calls an intent has what its outcome has.
 * @throws GatewayError INVALID_ARGUMENTS where no log has any: that nothing was found would pass for a fact
 */
export function kindsOf(filter: Filter, view: "calls" | "records"): Kind[] {
  const given = (Object.keys(ONLY_OF) as Own[]).filter((it) => filter[it] !== undefined);
  const lacks = (kind: Kind) => given.filter((it) => !hasIt(kind, it, view));
  const all = shown(filter, view);
  const kinds = all.filter((it) => lacks(it).length === 0);
  if (kinds.length === 0 && all.length > 0) throw impossible(filter, given, lacks);
  return kinds;
}

function hasIt(kind: Kind, field: Own, view: "calls" | "records"): boolean {
  const kinds: readonly Kind[] = ONLY_OF[field];
  return kinds.includes(kind) || (view === "calls" && kind === "intent" && kinds.includes("outcome"));
}

function shown(
  { kind, event, policy, host, package: name, exitCode, text }: Filter,
  view: "calls" | "records",
): Kind[] {
  const isOfEventsToo = [event, policy, host, name, exitCode, text?.[0]].some((it) => it !== undefined);
  const all: readonly Kind[] =
    view === "records"
      ? ["intent", "outcome", "event"]
      : isOfEventsToo || kind === "event"
        ? ["intent", "event"]
        : ["intent"];
  return all.filter((it) => kind === undefined || it === kind);
}

const INSTEAD = {
  event:
    "for calls by what events say of them, give --host, --package or --exit-code without --event, --kind and --records; for events of a call or a session, --call or --session",
  outcome: "leave out --kind outcome: a call is found by how it ended, too, and shown with it",
  intent: "leave out --kind intent: a call is found by how it ended, too, and shown with it",
  record: "leave out --records: a call is found by what its intent and its outcome say together",
};

function impossible(filter: Filter, given: readonly Own[], lacks: (kind: Kind) => readonly Own[]): GatewayError {
  const kind = filter.kind ?? (filter.event === undefined ? undefined : "event");
  const fields = kind === undefined ? given : lacks(kind);
  const options = fields.map((it) => (it === "exitCode" ? "--exit-code" : `--${it}`)).join(" and ");
  const who = kind === undefined ? "one record" : kind;
  const instead = fields.includes("event") ? `leave out --kind ${kind}` : INSTEAD[kind ?? "record"];
  return new GatewayError("INVALID_ARGUMENTS", `no ${who} has ${options}, so this would find nothing: ${instead}`);
}
