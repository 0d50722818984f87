import { type FetchedBundle, type FetchPorts, fetchBundle } from "./distribution/fetch.ts";
import type { WatchedSource } from "./distribution/watch.ts";
import type { LayerSource } from "./policy-source.ts";

/** Brings a layer's bundle here, and checks what it has to show. @throws GatewayError as `fetchBundle` */
export type FetchLayer = (layer: LayerSource) => Promise<FetchedBundle>;

export function fetchLayers(ports: FetchPorts): FetchLayer {
  return async (layer) => {
    const { source, trust } = watched(layer);
    return await fetchBundle(source, trust, ports);
  };
}

/** A layer as the distribution of bundles knows it. */
export function watched({ name: layer, source, trust }: LayerSource): Pick<WatchedSource, "source" | "trust"> {
  return { source, trust: { keys: [], ...trust, layer } };
}
