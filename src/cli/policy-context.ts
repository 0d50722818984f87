import type { FetchLayer } from "../policy/fetch-layer.ts";
import type { LoadPorts } from "../policy/load.ts";
import type { SettingsPlaces } from "../settings.ts";
import type { SettingsOptions } from "../settings-places.ts";

/** What `glovebox policy …` stands on. */
export interface PolicyContext {
  /** What bundles are loaded with; reads the skills, which their policies may speak of. */
  readonly load: () => Promise<LoadPorts>;
  /** What is configured on this computer; without it nobody can ask what is in force. */
  readonly configured?: Configured;
}

/** What is configured on this computer. */
export interface Configured {
  readonly settings: (options: SettingsOptions) => SettingsPlaces;
  readonly dataDirectory: (dataDir: string | undefined) => string;
  readonly fetch: (dataDirectory: string) => FetchLayer;
}
