import { z } from "zod";
import { capability } from "./capability.ts";
import { sandbox, sessionId } from "./fields.ts";
import { present } from "./render.ts";

export const exposePort = capability({
  name: "exposePort",
  description:
    "Let the user look at a web server that listens in the sandbox (127.0.0.1 or 0.0.0.0; start it with background). Give them the link as it is: it opens on their computer only, and not without its token.",
  annotations: { title: "Expose a port", readOnly: false, destructive: false, idempotent: true, openWorld: false },
  input: z.strictObject({
    port: z.int().min(1).max(65_535).describe("That the server listens on, of HTTP."),
    close: z.boolean().optional().describe("Stop exposing it."),
    sessionId,
  }),
  output: z.strictObject({
    port: z.number(),
    state: z.enum(["exposed", "closed"]),
    url: z.string().optional().describe("For the user's browser."),
    hostPort: z.number().optional().describe("Of 127.0.0.1 of the user's computer."),
  }),
  describe: (args) => ({ resource: sandbox(args), context: { port: args.port }, audit: present(args) }),
  run: async ({ port, close }, { session }) => {
    const { previews } = (await session()).egress;
    if (close) {
      await previews.close(port);
      const result = { port, state: "closed" as const };
      return { result, text: `port ${port} is not exposed any more`, facts: result };
    }
    const { url, hostPort, token } = await previews.expose(port);
    const state = "exposed" as const;
    const text = [
      `port ${port} of the sandbox is exposed until the session closes. Link for the user's browser:`,
      url,
      `For the user's programs: http://127.0.0.1:${hostPort}/ with the header \`Authorization: Bearer ${token}\``,
    ].join("\n");
    // The link opens the port; the log is read by others.
    return { result: { port, state, url, hostPort }, text, facts: { port, state, hostPort } };
  },
});
