import { userInfo } from "node:os";

/** The name of the user that this process runs as; where the system has no entry of it (containers with a made-up user), its number. */
export function userName(): string {
  try {
    return userInfo().username;
  } catch (error) {
    const uid = process.getuid?.();
    if (uid === undefined) throw error;
    return `uid-${uid}`;
  }
}
