import { Command } from "commander";
import { takeInventory } from "../audit/inventory.ts";
import { sbomText } from "../audit/sbom.ts";
import { logIn, print, readable } from "./audit-io.ts";
import { parseMoment } from "./moment.ts";
import { OutputFile } from "./output-file.ts";

interface SbomContext {
  readonly directory: (dataDir: string | undefined) => string;
  readonly version: string;
}

interface Options {
  readonly dataDir?: string;
  readonly session?: string;
  readonly since?: number;
  readonly output?: string;
}

/** `glovebox audit sbom`: verifies the log, and says which packages entered sandboxes. */
export function sbomCommand({ directory, version }: SbomContext): Command {
  return new Command("sbom")
    .description("verify the log and print what packages entered sandboxes: a CycloneDX 1.6 bill of materials")
    .option("--session <id>", "of one session only (default: of all)")
    .option("--since <time>", "only what entered since then: 2026-11-21 or 2026-11-21T09:30:00Z", parseMoment)
    .option("-o, --output <file>", "write it there; a file that exists is replaced")
    .option("--data-dir <dir>", "where the log is kept (env GLOVEBOX_DATA_DIR)")
    .action(async ({ dataDir, session, since, output }: Options) => {
      const path = await logIn(directory(dataDir));
      const options = {
        ...(session === undefined ? {} : { session }),
        ...(since === undefined ? {} : { sinceMs: since }),
      };
      const inventory = await readable(path, takeInventory(path, options));
      const text = sbomText(inventory, options, version);
      if (output === undefined) await print([text.trimEnd()]);
      else await write(output, text);
    });
}

/** Whole or not at all, and as private as the log. @throws GatewayError INVALID_ARGUMENTS */
export async function write(path: string, text: string): Promise<void> {
  await using file = await OutputFile.open(path, { force: true });
  await file.write(text);
  await file.commit();
}
