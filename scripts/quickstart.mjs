// `npm run quickstart`: from a fresh machine to an agent's first commands in a sandbox.
import { node, prepare, run, say } from "./steps.mjs";

await prepare();
say("starting the server and a real MCP client");
run(node, ["scripts/demo.ts"]);
