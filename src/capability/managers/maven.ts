import type { Manager } from "./manager.ts";

/** Maven has no variable for it. */
const SETTINGS = "/tmp/glovebox-maven-settings.xml";

/** Into the user's local repository. The project's pom.xml stays as it is. */
export const maven: Manager = {
  global: false,
  exact: true,
  async *steps({ packages, registry }, place) {
    await place.write(SETTINGS, settings(registry));
    const options = ["--settings", SETTINGS, "--batch-mode", "--no-transfer-progress"];
    for (const { name, version } of packages) {
      const artifact = version === undefined ? name : `${name}:${version}`;
      yield { argv: ["mvn", ...options, "dependency:get", `-Dartifact=${artifact}`], from: "Maven" };
    }
    return "They are in the local repository; name them in pom.xml to use them.";
  },
};

/** A mirror of everything: the sandbox's Java knows no authority by which a registry's own address could be reached. */
function settings(registry: string): string {
  const mirror = `<mirror><id>glovebox</id><mirrorOf>*</mirrorOf><url>${registry}</url></mirror>`;
  return `<settings><mirrors>${mirror}</mirrors></settings>\n`;
}
