/** One entry of an initramfs; `mode` holds the type of the file as well (`S_IFREG` …). */
export interface CpioEntry {
  readonly path: string;
  readonly mode: number;
  readonly content?: Buffer;
  /** Major and minor number of a device. */
  readonly device?: readonly [number, number];
}

export const REGULAR = 0o100_000;
export const DIRECTORY = 0o040_000;
export const CHARACTER_DEVICE = 0o020_000;

/** A cpio archive in the kernel's `newc` format: all owned by root, all times zero, so that equal contents are equal bytes. */
export function cpio(entries: readonly CpioEntry[]): Buffer {
  const parts = entries.map((entry, index) => encode(entry, index + 1));
  return Buffer.concat([...parts, encode({ path: "TRAILER!!!", mode: 0 }, 0)]);
}

function encode({ path, mode, content, device }: CpioEntry, inode: number): Buffer {
  const size = content?.length ?? 0;
  const links = mode & DIRECTORY && !(mode & REGULAR) ? 2 : 1;
  const [major, minor] = device ?? [0, 0];
  // inode, mode, uid, gid, links, mtime, size, device of the file system (two), device (two), length of the name, checksum
  const fields = [inode, mode, 0, 0, links, 0, size, 0, 0, major, minor, Buffer.byteLength(path) + 1, 0];
  const header = `070701${fields.map((it) => it.toString(16).padStart(8, "0")).join("")}${path}\0`;
  return Buffer.concat([padded(Buffer.from(header)), padded(content ?? Buffer.alloc(0))]);
}

function padded(part: Buffer): Buffer {
  return Buffer.concat([part, Buffer.alloc((4 - (part.length % 4)) % 4)]);
}
