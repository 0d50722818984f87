import type { Container } from "../container/container.ts";
import type { Profile } from "../policy/profile.ts";

/** Why a program is no longer running; when several causes race, the first wins. */
export type EndedBy = "exit" | "signal" | "timeout" | "cancelled" | "output-limit" | "out-of-memory" | "machine-lost";
