import type { Json } from "../../audit/record.ts";
import type { Check } from "../check.ts";
import { eventOf, factOf, numberOf, textOf, textsOf } from "../facts.ts";

const SHA256 = /^[0-9a-f]{64}$/;

/** What entered is known to the byte, and by which policy. */
export const packagesAdmitted: Check = {
  id: "packages-admitted",
  of: "records",
  looksFor: "Packages that entered sandboxes are on record with the digest of each file and what let them in.",
  start: (tally) => (record) => {
    const admitted = eventOf(record, "package-admitted");
    if (!admitted) return;
    const { facts } = admitted;
    const purl = textOf(facts, "purl") ?? "a package";
    const wrong = wrongWith(facts);
    if (wrong !== undefined) return tally.contradicts("files admitted without reason or digest", `${purl}: ${wrong}`);
    tally.finds("files admitted, with digest and policy", `${purl}: sha256 ${textOf(facts, "sha256")}`);
    if (textOf(facts, "integrity") !== undefined) tally.concerns("of those, held to what the registry promised");
    if (numberOf(facts, "ageHours") !== undefined) tally.concerns("of those, with the release's age");
    if (factOf(facts, "advisories") !== undefined) tally.concerns("of those, decided with advisories at hand");
  },
};

function wrongWith(facts: Json): string | undefined {
  if (!SHA256.test(textOf(facts, "sha256") ?? "")) return "it has no digest";
  const reasons = textsOf(facts, "policies") ?? [];
  return reasons.length > 0 || textOf(facts, "approvalId") !== undefined ? undefined : "nothing let it in";
}
