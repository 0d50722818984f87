import type { EcosystemName } from "../../policy/ecosystems/ecosystem.ts";
import { apt } from "./apt.ts";
import { cargo } from "./cargo.ts";
import { go } from "./go.ts";
import type { Manager } from "./manager.ts";
import { maven } from "./maven.ts";
import { npm } from "./npm.ts";
import { pip } from "./pip.ts";

export const MANAGERS: Readonly<Record<EcosystemName, Manager>> = { pip, npm, apt, cargo, go, maven };
