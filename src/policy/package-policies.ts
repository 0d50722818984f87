import { INSTALL_PACKAGE } from "./package.ts";
import type { Packages } from "./packages.ts";

const ACTION = `action == Glovebox::Action::"${INSTALL_PACKAGE}"`;

/** The Cedar policies that a profile's `packages` stands for. */
export function packagePolicies(packages: Packages): string[] {
  const { allow, deny, licenses, vulnerable, unverified, buildsFromSource, maximumAdvisoryAgeHours } = packages;
  const ecosystems = [...new Set(allow.map((it) => it.ecosystem))];
  const policies = allow.map(({ purl }, index) => permit(`allow.${index + 1}`, `resource in ${packageEntity(purl)}`));
  if (ecosystems.length > 0) {
    const when = `${JSON.stringify(ecosystems)}.contains(context.ecosystem)`;
    policies.unshift(permit("allow", "resource is Glovebox::Session", when));
  }
  for (const [index, { purl, text }] of deny.entries()) {
    policies.push(
      forbid(`deny.${index + 1}`, `the profile denies ${text}`, "true", `resource in ${packageEntity(purl)}`),
    );
  }
  policies.push(
    ...ages(packages),
    forbid("malicious", "an advisory says that it is malicious", "resource.knownMalicious"),
  );
  if (packages.pin.size > 0) {
    policies.push(forbid("pin", "the profile pins the package to other versions", "!resource.withinPin"));
  }
  if (licenses) {
    const offered = `resource.licenses.containsAny(${JSON.stringify(licenses)})`;
    policies.push(forbid("licenses", "its licence is unknown, or none that the profile names", `!${offered}`));
  }
  if (vulnerable === "deny") {
    policies.push(forbid("vulnerable", "an advisory is about this version", "resource.knownVulnerable"));
  }
  if (unverified === "deny") {
    policies.push(
      forbid("unverified", "its registry gives no digest by which it could be checked", "!resource.verified"),
    );
  }
  if (buildsFromSource === "deny") {
    policies.push(forbid("buildsFromSource", "it would be built from its source", "resource.buildsFromSource"));
  }
  if (maximumAdvisoryAgeHours !== undefined) {
    const fresh = `resource has advisoriesAgeHours && resource.advisoriesAgeHours <= ${maximumAdvisoryAgeHours}`;
    const reason = `the advisories are older than ${maximumAdvisoryAgeHours} hours, or there are none: \`glovebox advisories import\``;
    policies.push(forbid("maximumAdvisoryAgeHours", reason, `!(${fresh})`));
  }
  return policies;
}

/** One for all, or one for each ecosystem with an age of its own and one for the others. */
function ages({ minimumAgeHours: { usual, own } }: Packages): string[] {
  const others = own.size > 0 ? `!${JSON.stringify([...own.keys()])}.contains(resource.ecosystem)` : undefined;
  const named = [...own].flatMap(([ecosystem, hours]) =>
    age(`minimumAgeHours.${ecosystem}`, hours, `resource.ecosystem == ${JSON.stringify(ecosystem)}`),
  );
  return [...age("minimumAgeHours", usual, others), ...named];
}

function age(id: string, least: number, where?: string): string[] {
  if (least === 0) return [];
  const old = `resource has ageHours && resource.ageHours >= ${least}`;
  const reason = `it was published less than ${least} hours ago, or nobody knows when`;
  return [forbid(id, reason, where === undefined ? `!(${old})` : `${where} && !(${old})`)];
}

function packageEntity(purl: string): string {
  return `Glovebox::Package::${JSON.stringify(purl)}`;
}

function permit(id: string, head: string, when?: string): string {
  const condition = when === undefined ? "" : `\nwhen { ${when} }`;
  return `@id("packages.${id}")\npermit (principal, ${ACTION}, ${head})${condition};\n`;
}

function forbid(id: string, reason: string, when: string, head = "resource is Glovebox::Package"): string {
  const condition = when === "true" ? "" : `\nwhen { ${when} }`;
  return `@id("packages.${id}")\n@reason(${JSON.stringify(reason)})\nforbid (principal, ${ACTION}, ${head})${condition};\n`;
}
