import { type ApprovalsSettings, approvalsSchema } from "./approval/settings.ts";
import type { Config } from "./config.ts";
import { secretProblem } from "./egress/secret-probe.ts";
import { GatewayError } from "./errors.ts";
import type { Logger } from "./log.ts";
import { findGroup } from "./packages/sources/groups.ts";
import type { Language } from "./policy/assemble.ts";
import { startWatching } from "./policy/distribution/watch.ts";
import { checkEnrolment, rememberEnrolment } from "./policy/enrolment.ts";
import { fetchLayers, watched } from "./policy/fetch-layer.ts";
import type { Policy } from "./policy/layer.ts";
import { type LoadedPolicy, loadPolicy } from "./policy/load-policy.ts";
import { loadSettings, type Settings } from "./settings.ts";

/** What can't be loaded is tried again: what was in the way may go without any source having something else. */
const RETRY_MS = 60_000;

export interface ConfiguredPorts {
  readonly config: Config;
  /** The tools that policy decides. */
  readonly language: Language;
  /** In PEM; whose certificates count where bundles are fetched. */
  readonly authorities: () => Promise<readonly string[]>;
  readonly log: Logger;
  /** Aborts when the gateway ends. */
  readonly ending: AbortSignal;
}

/** The policy that is configured on this computer, by its organisation, its team, its project and its user. */
export interface ConfiguredPolicy {
  readonly approvals: ApprovalsSettings;
  /** It is the user who has set them up, on an organisation's computer. */
  readonly usersOwnApprovals: boolean;
  /** Where the audit log goes besides. */
  readonly sinks: Settings["sinks"];
  /** The user's settings, and folders that bundles are read from: no agent may write there. */
  readonly ownPlaces: () => readonly string[];
  /** All layers as they are now. What is older than what was loaded before is refused from then on. @throws GatewayError */
  load(): Promise<Policy>;
  /** Calls `replace` when a source has something else, or when what it had could not be loaded; `failed` when one can't be had. */
  watch(replace: () => Promise<void>, failed: (error: GatewayError) => void): AsyncDisposable;
}

/** @throws GatewayError CONFIG_INVALID; ORGANISATION_POLICY when this computer is enrolled and what that rests on can't be believed */
export async function configuredPolicy(ports: ConfiguredPorts): Promise<ConfiguredPolicy> {
  const { config, language, authorities, log, ending } = ports;
  const settings = await loadSettings(config.settings);
  await checkEnrolment(config.dataDirectory, settings.organisation);
  const { upstreamProxy } = config;
  const network = {
    dataDirectory: config.dataDirectory,
    authorities,
    ...(upstreamProxy !== undefined && { upstreamProxy }),
  };
  const fetch = fetchLayers({ ...network, signal: ending });
  let latest: LoadedPolicy | undefined;
  let told = "";
  /** Something was to come into force, and could not be had. */
  let isOwed = false;

  async function load(): Promise<Policy> {
    isOwed = true;
    const loaded = await loadPolicy(settings.layers, {
      load: { ...language, findGroup, secretProblem },
      fetch,
      signal: ending,
    });
    for (const { fetched } of loaded.sources) await fetched?.accept();
    if (settings.organisation !== undefined) {
      await rememberEnrolment(config.dataDirectory, settings.organisation, new Date());
    }
    const warnings = [...settings.warnings, ...loaded.warnings].join("; ");
    if (warnings !== "" && warnings !== told)
      log.warn({ warnings }, "of the configured policy something does not hold");
    told = warnings;
    latest = loaded;
    // A source that was away only now has nothing else for whoever watches it.
    isOwed = loaded.sources.some(({ fetched }) => fetched?.stale !== undefined);
    return loaded.policy;
  }

  return {
    approvals: approvalsOf(settings),
    usersOwnApprovals: settings.approvals?.usersOwn ?? false,
    sinks: settings.sinks,
    ownPlaces: () => [config.settings.user.file, ...(latest?.sources ?? []).map((it) => it.directory)],
    load,
    watch: (replace, failed) => {
      const stack = new AsyncDisposableStack();
      const listeners = { onChange: replace, onFailure: (_layer: unknown, error: GatewayError) => failed(error) };
      const sources = (latest?.sources ?? []).map(({ layer, fetched }) => ({
        ...watched(layer),
        ...(fetched && { digest: fetched.digest }),
      }));
      const isRemote = ({ source }: (typeof sources)[number]) => !("directory" in source);
      const everyMs = settings.pollSeconds === undefined ? {} : { everyMs: settings.pollSeconds * 1_000 };
      const retry = setInterval(() => void (isOwed && replace()), RETRY_MS);
      retry.unref();
      stack.defer(() => clearInterval(retry));
      stack.use(startWatching(sources.filter(isRemote), { ...network, ...listeners, ...everyMs }));
      stack.use(
        startWatching(
          sources.filter((it) => !isRemote(it)),
          { ...network, ...listeners },
        ),
      );
      return stack;
    },
  };
}

/** @throws GatewayError CONFIG_INVALID */
function approvalsOf({ approvals }: Settings): ApprovalsSettings {
  const read = approvalsSchema.safeParse(approvals?.stated ?? {});
  if (read.success) return read.data;
  const problems = read.error.issues.map(({ path, message }) => `${["approvals", ...path].join(".")}: ${message}`);
  throw new GatewayError("CONFIG_INVALID", `${approvals?.statedIn ?? ""}: ${problems.join("; ")}`);
}
