// `npm test`: sets everything up on a fresh machine, then runs all tests (arguments go to vitest).
import { join } from "node:path";
import { installPackages, node, prepare, root, run, say } from "./steps.mjs";

await prepare({ forTests: true });
installPackages(join(root, "test", "clients"));
say("running the tests");
run(node, ["node_modules/vitest/vitest.mjs", "run", ...process.argv.slice(2)]);
