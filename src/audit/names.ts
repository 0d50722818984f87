import { normalName } from "../policy/audit-fields.ts";
import { nameHolds } from "./secrets.ts";

/** What a name says of its value: `policy`: that the policy in force keeps it out of the log, whatever it is; the others as `nameHolds`. */
export type Held = "policy" | ReturnType<typeof nameHolds>;
export type Names = (name: string) => Held;

/** @param fields normal names, of the policy in force */
export function namesWith(fields: ReadonlySet<string>): Names {
  if (fields.size === 0) return nameHolds;
  return (name) => (isField(name, fields) ? "policy" : nameHolds(name));
}

/** By the whole name, or what follows its last dot: `customer.id`, `this.customerId`. */
function isField(name: string, fields: ReadonlySet<string>): boolean {
  return (
    fields.has(normalName(name)) ||
    (name.includes(".") && fields.has(normalName(name.slice(name.lastIndexOf(".") + 1))))
  );
}
