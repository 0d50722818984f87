import { GatewayError } from "../../errors.ts";
import type { Manager } from "./manager.ts";

/** Into the project's Cargo.toml, and what it needs from the registry. Nothing is built. */
export const cargo: Manager = {
  global: false,
  exact: false,
  async *steps({ packages, directory, registry }, place) {
    const from = "Rust's cargo";
    const manifest = `${directory}/Cargo.toml`;
    if (!(await place.has(manifest))) {
      throw new GatewayError("INVALID_ARGUMENTS", "directory: has no Cargo.toml; make one with `cargo init`");
    }
    const specs = packages.map(({ name, version }) => (version === undefined ? name : `${name}@=${version}`));
    // Cargo has no variable for it.
    const source = [`source.glovebox.registry="sparse+${registry}"`, 'source.crates-io.replace-with="glovebox"'];
    const cargo = ["cargo", ...source.flatMap((it) => ["--config", it])] as const;
    yield { argv: [...cargo, "add", "--manifest-path", manifest, "--", ...specs], from };
    yield { argv: [...cargo, "fetch", "--manifest-path", manifest], from };
    return undefined;
  },
};
