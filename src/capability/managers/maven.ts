import type { Manager } from "./manager.ts";

/** Into the user's local repository. The project's pom.xml stays as it is. */
export const maven: Manager = {
  global: false,
  exact: true,
  async *steps({ packages }) {
    const options = ["--batch-mode", "--no-transfer-progress"];
    for (const { name, version } of packages) {
      const artifact = version === undefined ? name : `${name}:${version}`;
      yield { argv: ["mvn", ...options, "dependency:get", `-Dartifact=${artifact}`], from: "Maven" };
    }
    return "They are in the local repository; name them in pom.xml to use them.";
  },
};
