import { BaseSequencer, type TestSpecification } from "vitest/node";

/** Files that take minutes. They are small: what they run is in the suites that they import. */
const LONGEST = [
  "e2e/skills-shipped.test.ts",
  "container-by-engine.test.ts",
  "container-by-agent.test.ts",
  "e2e/packages.test.ts",
  "e2e/network.test.ts",
  "image.test.ts",
  "advisories-cli.test.ts",
];

/** Vitest begins with the largest files; where two run at a time, the longest one must not begin last. */
export default class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const place = ({ moduleId }: TestSpecification) => {
      const index = LONGEST.findIndex((it) => moduleId.endsWith(it));
      return index < 0 ? LONGEST.length : index;
    };
    return (await super.sort(files)).toSorted((a, b) => place(a) - place(b));
  }
}
