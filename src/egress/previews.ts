import type { Duplex } from "node:stream";
import type { AuditWriter, EventBody, Json } from "../audit/record.ts";
import { GatewayError } from "../errors.ts";
import type { Logger } from "../log.ts";
import { openPreview, type Preview } from "./preview.ts";

/** Exposed at once, of one session. */
const MAX_EXPOSED = 8;

export interface PreviewsPorts {
  readonly sessionId: string;
  readonly audit: AuditWriter;
  readonly log: Logger;
  /** Connects to a port of the sandbox's loopback. @throws GatewayError */
  readonly dial: (port: number) => Promise<Duplex>;
}

/** A port of the sandbox that is reachable on this computer. Its link is for whom it was asked by, and not shown again. */
export interface ExposedPort {
  readonly port: number;
  readonly hostPort: number;
}

/** The ports that one session exposes. Disposal closes them. */
export interface Previews extends Disposable {
  /** The same link as long as the port is exposed. @throws GatewayError PORT_LIMIT, SESSION_CLOSED, AUDIT_UNWRITABLE */
  expose(port: number): Promise<ExposedPort & Pick<Preview, "url" | "token">>;
  /** Does nothing for a port that is not exposed. @throws GatewayError AUDIT_UNWRITABLE; it is closed all the same */
  close(port: number): Promise<void>;
  readonly exposed: readonly ExposedPort[];
}

export function createPreviews({ sessionId, audit, log, dial }: PreviewsPorts): Previews {
  /** Exposed, or about to be. */
  const previews = new Map<number, Promise<Preview>>();
  /** On record, and not closed. */
  const open = new Set<Preview>();
  let disposed = false;
  const record = (event: EventBody["event"], facts: Json) => audit.append({ kind: "event", event, sessionId, facts });

  async function openRecorded(port: number): Promise<Preview> {
    using stack = new DisposableStack();
    const preview = stack.use(await openPreview({ port, log, dial: () => dial(port) }));
    // Nobody knows the way in before it is on record.
    await record("port-exposed", { port, hostPort: preview.hostPort });
    stack.move();
    open.add(preview);
    return preview;
  }

  async function end(port: number): Promise<void> {
    const known = previews.get(port);
    previews.delete(port);
    const preview = await known?.catch(() => undefined);
    if (!preview) return;
    preview[Symbol.dispose]();
    open.delete(preview);
    await record("port-closed", { port, hostPort: preview.hostPort, ...preview.counts });
  }

  return {
    expose: async (port) => {
      if (disposed) throw new GatewayError("SESSION_CLOSED");
      const known = previews.get(port);
      if (known) return await known;
      if (previews.size >= MAX_EXPOSED) {
        throw new GatewayError("PORT_LIMIT", `${MAX_EXPOSED} ports are exposed, as many as a session may`);
      }
      const begun = openRecorded(port);
      previews.set(port, begun);
      begun.catch(() => previews.get(port) === begun && previews.delete(port));
      return await begun;
    },
    close: end,
    get exposed() {
      return [...open].map(({ port, hostPort }) => ({ port, hostPort }));
    },
    [Symbol.dispose]: () => {
      disposed = true;
      for (const port of previews.keys()) {
        // It has happened, and nobody asked.
        end(port).catch((error: unknown) => log.error({ sessionId, port, err: error }, "event not recorded"));
      }
    },
  };
}
