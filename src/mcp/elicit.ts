import type { Server } from "@modelcontextprotocol/sdk/server/index.js";
import type { Elicit } from "../approval/elicitation.ts";

/** Shows forms to the user of the client that this server serves, if it says that it can. A form that is taken back is cancelled there. */
export function elicitThrough(server: Server): Elicit {
  let counted = false;
  return ({ message, requestedSchema }, { signal, timeoutMs }) => {
    if (!server.getClientCapabilities()?.elicitation?.form) return undefined;
    if (!counted) {
      counted = true;
      // Clients of SDK 1.x take back no request whose id is 0 (typescript-sdk issue 2283), which the first has: that is not to be a form.
      server.ping().catch(() => undefined);
    }
    const { type, properties, required } = requestedSchema;
    const fields = Object.fromEntries(
      Object.entries(properties).map(([name, { enum: choices, ...field }]) => [
        name,
        { ...field, ...(choices && { enum: [...choices] }) },
      ]),
    );
    const params = { message, requestedSchema: { type, properties: fields, required: [...required] } };
    // Its own default is a minute, in which nobody has read the question.
    return server.elicitInput(params, { signal, timeout: timeoutMs });
  };
}
