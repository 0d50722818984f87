import type { PolicyJson } from "@cedar-policy/cedar-wasm/nodejs";
import { enforcedPolicies } from "./bundle.ts";
import type { EcosystemName } from "./ecosystems/ecosystem.ts";
import { namingOf } from "./ecosystems/naming.ts";
import type { Policy } from "./layer.ts";

const PACKAGE = "Glovebox::Package";

/** The purl that a policy's head names, of a package or of what packages lie in; empty when it is about all, `undefined` about none. */
export function packageScope({ resource }: PolicyJson): string | undefined {
  if ("entity_type" in resource && resource.entity_type !== PACKAGE) return undefined;
  const named = "in" in resource ? resource.in : resource;
  if (!named || !("entity" in named)) return "";
  const { entity } = named;
  const { type, id } = "__entity" in entity ? entity.__entity : entity;
  return type === PACKAGE ? id : undefined;
}

/** Whether packages of this ecosystem may be permitted at all; conditions may narrow that. Of one of which none may enter, nobody is asked. */
export function mayPermitPackages({ layers }: Pick<Policy, "layers">, ecosystem: EcosystemName): boolean {
  const own = `pkg:${namingOf(ecosystem).purlType}`;
  return layers.every(({ bundle }) =>
    enforcedPolicies(bundle).some(({ effect, packages }) => {
      if (effect !== "permit" || packages === undefined) return false;
      return packages === "" || `${own}/`.startsWith(`${packages}/`) || packages.startsWith(`${own}/`);
    }),
  );
}
