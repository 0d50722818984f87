import { type FileHandle, open } from "node:fs/promises";
import { GatewayError } from "../../errors.ts";

/** Files opened for a process about to be started. */
export interface OpenFiles extends AsyncDisposable {
  readonly descriptors: readonly number[];
}

/** Opens all or none. @throws GatewayError IMAGE_MISSING */
export async function openFiles(files: readonly { path: string; flags: "r" | "r+" }[]): Promise<OpenFiles> {
  const handles: FileHandle[] = [];
  const close = async () => {
    await Promise.allSettled(handles.map((it) => it.close()));
  };
  try {
    for (const { path, flags } of files) handles.push(await open(path, flags));
  } catch (cause) {
    await close();
    throw new GatewayError("IMAGE_MISSING", "A file of the guest image cannot be opened.", { cause });
  }
  return { descriptors: handles.map((it) => it.fd), [Symbol.asyncDispose]: close };
}
