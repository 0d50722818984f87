import type { Manager } from "./manager.ts";

/** Into a virtual environment of the project's own. `-I`: modules of the project don't stand in the way of pip's. */
export const pip: Manager = {
  global: false,
  exact: true,
  async *steps({ packages, directory }, place) {
    const environment = `${directory}/.venv`;
    const from = "python3 with venv and pip";
    if (!(await place.has(`${environment}/pyvenv.cfg`))) {
      yield { argv: ["python3", "-I", "-m", "venv", environment], from };
    }
    // What is imported is compiled then; of large packages most is never imported, and an emulated processor takes minutes to compile it.
    const options = ["--disable-pip-version-check", "--no-input", "--no-compile", "--progress-bar", "off"];
    const specs = packages.map(({ name, version }) => (version === undefined ? name : `${name}==${version}`));
    yield { argv: [`${environment}/bin/python`, "-I", "-m", "pip", "install", ...options, "--", ...specs], from };
    return `Run them with ${environment}/bin/python; programs that came with them are in ${environment}/bin.`;
  },
};
