import { GatewayError } from "../../errors.ts";
import type { Manager } from "./manager.ts";

/** Into the project's go.mod, and what it needs from the module proxy. */
export const go: Manager = {
  global: false,
  exact: false,
  async *steps({ packages, directory }, place) {
    if (!(await place.has(`${directory}/go.mod`))) {
      throw new GatewayError("INVALID_ARGUMENTS", "directory: has no go.mod; make one with `go mod init`");
    }
    const specs = packages.map(({ name, version }) => `${name}@${version ?? "latest"}`);
    yield { argv: ["go", "get", "--", ...specs], from: "Go's toolchain" };
    return undefined;
  },
};
