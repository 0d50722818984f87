// `npm test`: sets everything up on a fresh machine, then runs all tests (arguments go to vitest).
import { join } from "node:path";
import { installPackages, node, prepare, root, run, say } from "./steps.mjs";

const libraries = join("..", "lib", `${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`);
/** What only tests need: servers that the audit log is sent to. */
const PROGRAMS = [
  ["rsyslogd", "rsyslog"],
  [join(libraries, "rsyslog", "lmnsd_gtls.so"), "rsyslog-gnutls"],
];

await prepare({ programs: PROGRAMS, postgres: true });
installPackages(join(root, "test", "clients"));
say("running the tests");
run(node, ["node_modules/vitest/vitest.mjs", "run", ...process.argv.slice(2)]);
