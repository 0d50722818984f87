import type { Manager } from "./manager.ts";

/** Into the project, whose package.json is made when missing, or the user's own prefix, which is in PATH. */
export const npm: Manager = {
  global: true,
  exact: true,
  async *steps({ packages, directory, global, installScripts }) {
    const from = "Node.js with npm";
    const where = global ? ["--global"] : ["--prefix", directory];
    const quiet = ["--no-audit", "--no-fund", "--no-update-notifier"];
    const scripts = installScripts === "allow" ? [] : ["--ignore-scripts"];
    const specs = packages.map(({ name, version }) => (version === undefined ? name : `${name}@${version}`));
    yield { argv: ["npm", "install", ...where, ...quiet, "--save-exact", ...scripts, "--", ...specs], from };
    // It takes up what was left out above, for these packages and no others.
    if (Array.isArray(installScripts) && installScripts.length > 0) {
      yield { argv: ["npm", "rebuild", ...where, ...quiet, "--", ...installScripts], from };
    }
    return installScripts === "allow" ? undefined : "Programs that packages bring for their installation were not run.";
  },
};
