"""Works on the Python project that is the working directory, with its .venv: venv, requirements, test, lint, module."""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile

PYTHON = os.path.join(".venv", "bin", "python")
RUFF = os.path.join(".venv", "bin", "ruff")
MODULE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
EXTRA = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
# What isn't the project's own.
NOT_COMPILED = r"(^|/)(\.venv|venv|\.git|node_modules)/"


class Parser(argparse.ArgumentParser):
    def error(self, message):
        fail(message)


def main():
    given = arguments()
    match given.command:
        case "venv":
            create_venv()
        case "requirements":
            requirements(given)
        case "test":
            test(given)
        case "lint":
            lint(given.path or os.getcwd())
        case "module":
            end([python(), "-m", given.module, *given.arguments])


def arguments():
    parser = Parser(prog="python-project", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("venv", allow_abbrev=False)
    install = commands.add_parser("requirements", allow_abbrev=False)
    install.add_argument("--file")
    install.add_argument("--extras", type=extras, default=[])
    test = commands.add_parser("test", allow_abbrev=False)
    test.add_argument("--path")
    test.add_argument("--name")
    lint = commands.add_parser("lint", allow_abbrev=False)
    lint.add_argument("--path")
    module = commands.add_parser("module", allow_abbrev=False)
    module.add_argument("--module", type=dotted, required=True)
    module.add_argument("--arguments", type=texts, default=[])
    return parser.parse_args()


def texts(text):
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, list) or not all(isinstance(it, str) and "\0" not in it for it in value):
        raise argparse.ArgumentTypeError("must be a JSON array of texts")
    return value


def extras(text):
    value = texts(text)
    for it in value:
        if not EXTRA.fullmatch(it):
            raise argparse.ArgumentTypeError(f"{it!r} is no name of an extra")
    return value


def dotted(text):
    if not MODULE.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no module's dotted name")
    return text


def create_venv():
    if os.path.exists(PYTHON):
        print(f"{os.path.abspath('.venv')} is there already.")
        return
    made = run([sys.executable, "-m", "venv", ".venv"])
    if made != 0:
        fail("can't make .venv; see the output", 3)
    print(f"Made {os.path.abspath('.venv')}.", flush=True)


def requirements(given):
    what = what_to_install(given)
    create_venv()
    end([os.path.abspath(PYTHON), "-m", "pip", "install", "--require-virtualenv", "--no-input", "--disable-pip-version-check", what])


def what_to_install(given):
    file = given.file or (os.path.abspath("requirements.txt") if os.path.isfile("requirements.txt") and not given.extras else None)
    if file:
        if given.extras:
            fail("extras: are of pyproject.toml; leave file out")
        if not os.path.isfile(file):
            fail(f"file: {file} is not there")
        return f"--requirement={file}"
    if not os.path.isfile("pyproject.toml"):
        fail(f"{os.getcwd()} has neither requirements.txt nor pyproject.toml; name the file")
    return f"--editable=.[{','.join(given.extras)}]" if given.extras else "--editable=."


def test(given):
    if given.path and not os.path.exists(given.path.partition("::")[0]):
        fail(f"path: {given.path} is not there; paths are relative to /workspace")
    program = python()
    if run([program, "-c", "import sys, importlib.util as u; sys.exit(u.find_spec('pytest') is None)"]) == 0:
        print("Running pytest.", flush=True)
        end([program, "-m", "pytest", "--color=no", *([f"-k={given.name}"] if given.name else []), "--", *([given.path] if given.path else [])])
    if given.path and "::" in given.path:
        fail("path: unittest takes a file or a directory; give the test's name as name")
    print("pytest is not installed: running unittest.", flush=True)
    end([program, "-m", "unittest", *unittest(given)])


def unittest(given):
    filters = [f"-k={given.name}"] if given.name else []
    if given.path and os.path.isfile(given.path):
        return [*filters, given.path]
    return ["discover", *filters, f"--start-directory={given.path or '.'}"]


def lint(path):
    if not os.path.exists(path):
        fail(f"path: {path} is not there; paths are relative to /workspace")
    if os.path.isfile(RUFF):
        print("Running ruff.", flush=True)
        end([os.path.abspath(RUFF), "check", "--no-fix", "--no-cache", "--output-format=concise", "--", path])
    print("ruff is not in .venv: looking for syntax errors only (compileall).", flush=True)
    with tempfile.TemporaryDirectory() as caches:
        os.environ["PYTHONPYCACHEPREFIX"] = caches
        end([python(), "-m", "compileall", "-q", "-f", f"-x={NOT_COMPILED}", path])


def python():
    if os.path.exists(PYTHON):
        return os.path.abspath(PYTHON)
    print("There is no .venv here: using the sandbox's own python3.", flush=True)
    return sys.executable


def run(argv):
    try:
        return subprocess.run(argv, stdin=subprocess.DEVNULL, stderr=subprocess.STDOUT).returncode
    except OSError as error:
        fail(f"can't start {os.path.basename(argv[0])}: {error.strerror}", 3)


def end(argv):
    """Runs it with this program's standard output, says how it ended, and ends."""
    code, shown = run(argv), os.path.basename(argv[0])
    print(f"{shown} ended with exit code {code}." if code >= 0 else f"{shown} was ended by signal {-code}.", flush=True)
    sys.exit(0 if code == 0 else 1)


def fail(message, code=2):
    print(f"python-project: {message}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    main()
