import type { Profile } from "../policy/profile.ts";

/** Whose programs npm may run at installation: nobody's, everybody's, or those of packages of these names. */
export type InstallScripts = NonNullable<Profile["packages"]>["installScripts"];

/** `packages.installScripts` of the profile; nobody's where it says nothing. */
export function installScriptsOf(profile: Profile): InstallScripts {
  return profile.packages?.installScripts ?? "deny";
}
