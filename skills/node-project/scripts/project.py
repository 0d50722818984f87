"""Runs npm in the project that is the working directory: install, a script of package.json, lint, outdated."""

import argparse
import json
import os
import subprocess
import sys

MAX_MANIFEST_BYTES = 1024 * 1024
MAX_SHOWN_SCRIPTS = 50
# The names that `npm run` gives its directory of programs, and what each is asked to look at.
LINTERS = {"eslint": ["."], "biome": ["check", "--colors=off", "."]}


class Parser(argparse.ArgumentParser):
    def error(self, message):
        fail(message)


def main():
    given = arguments()
    manifest = read_manifest()
    match given.command:
        case "install":
            install(given)
        case "script":
            run_script(manifest, given.name, given.arguments)
        case "lint":
            lint(manifest)
        case "outdated":
            outdated()


def arguments():
    parser = Parser(prog="node-project", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    install = commands.add_parser("install", allow_abbrev=False)
    install.add_argument("--frozen", action="store_true")
    install.add_argument("--production", action="store_true")
    install.add_argument("--scripts", action="store_true")
    script = commands.add_parser("script", allow_abbrev=False)
    script.add_argument("--name", required=True)
    script.add_argument("--arguments", type=texts, default=[])
    commands.add_parser("lint", allow_abbrev=False)
    commands.add_parser("outdated", allow_abbrev=False)
    return parser.parse_args()


def texts(text):
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, list) or not all(isinstance(it, str) and "\0" not in it for it in value):
        raise argparse.ArgumentTypeError("must be a JSON array of texts")
    return value


def read_manifest():
    try:
        with open("package.json", "rb") as file:
            text = file.read(MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        fail(f"no package.json can be read in {os.getcwd()}: {error.strerror}")
    if len(text) > MAX_MANIFEST_BYTES:
        fail(f"package.json has more than {MAX_MANIFEST_BYTES} bytes")
    try:
        manifest = json.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        fail(f"package.json is not JSON: {error}")
    if not isinstance(manifest, dict):
        fail("package.json holds no object")
    return manifest


def scripts_of(manifest):
    scripts = manifest.get("scripts")
    return [name for name, text in scripts.items() if isinstance(text, str)] if isinstance(scripts, dict) else []


def install(given):
    if given.frozen and not any(os.path.isfile(it) for it in ("package-lock.json", "npm-shrinkwrap.json")):
        fail("frozen: there is no package-lock.json; install without frozen makes one")
    if given.scripts and scripts_are_off():
        fail("scripts: policy doesn't permit packages' install scripts (packages.installScripts of its profile)")
    # Arguments win over what the project's .npmrc says.
    options = ["--no-audit", "--no-fund", "--git=git"]
    options += [] if given.scripts else ["--ignore-scripts"]
    options += ["--omit=dev"] if given.production else []
    end([["npm", "ci" if given.frozen else "install", *options]])


def scripts_are_off():
    """Whether the sandbox tells npm to run no packages' programs."""
    return os.environ.get("NPM_CONFIG_IGNORE_SCRIPTS") == "true"


def run_script(manifest, name, rest):
    names = scripts_of(manifest)
    if name not in names:
        shown = ", ".join(sorted(names)[:MAX_SHOWN_SCRIPTS]) or "none"
        fail(f"package.json has no script {name!r}; it has: {shown}")
    run = {it: ["npm", "run", "--", it] for it in (f"pre{name}", name, f"post{name}")}
    run[name] += rest
    # npm takes that setting for the project's own scripts before and after this one, too.
    end([argv for it, argv in run.items() if it == name or (scripts_are_off() and it in names)])


def lint(manifest):
    if "lint" in scripts_of(manifest):
        run_script(manifest, "lint", [])
    for name, options in LINTERS.items():
        program = os.path.join("node_modules", ".bin", name)
        if os.path.isfile(program):
            print(f"package.json has no script 'lint': running the project's {name}.", flush=True)
            end([[os.path.abspath(program), *options]])
    fail("there is nothing to lint with: package.json has no script 'lint', and neither ESLint nor Biome is installed")


def outdated():
    ended = subprocess.run(["npm", "outdated", "--json"], stdin=subprocess.DEVNULL, capture_output=True, env=environment())
    try:
        found = json.loads(ended.stdout or b"{}")
    except ValueError:
        found = None
    # Exit code 1 says that there are some, and also that it failed.
    if not isinstance(found, dict) or "error" in found or ended.returncode not in (0, 1):
        error = found.get("error") if isinstance(found, dict) else None
        summary = error.get("summary") if isinstance(error, dict) else None
        fail(f"npm outdated failed: {' '.join(str(summary or ended.stderr.decode(errors='replace')).split())[:500]}", 3)
    packages = []
    for name, told in sorted(found.items()):
        # One package may be installed in several places.
        for it in told if isinstance(told, list) else [told]:
            packages.append({"name": name, **{key: it.get(key) for key in ("current", "wanted", "latest")}})
    print(json.dumps({"outdated": packages}))


def environment():
    # Test runners that wait for changes in a terminal end instead.
    return {**os.environ, "CI": "1", "NO_COLOR": "1", "NPM_CONFIG_UPDATE_NOTIFIER": "false"}


def end(programs):
    """Runs them with this program's standard output up to the first that fails, says how that ended, and ends."""
    for argv in programs:
        shown = os.path.basename(argv[0])
        try:
            code = subprocess.run(argv, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT, env=environment()).returncode
        except OSError as error:
            fail(f"can't start {shown}: {error.strerror}", 3)
        if code != 0:
            break
    print(f"{shown} ended with exit code {code}." if code >= 0 else f"{shown} was ended by signal {-code}.", flush=True)
    sys.exit(0 if code == 0 else 1)


def fail(message, code=2):
    print(f"node-project: {message}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
