"""Clones a repository over HTTPS or HTTP, without submodules, hooks, templates, and without anybody's credentials."""

import json
import os
import re
import sys
from urllib.parse import unquote, urlsplit

sys.dont_write_bytecode = True

from typed import count, parser, plain, ref  # noqa: E402
from guarded import environment, fail, message_of, run  # noqa: E402

# git's own words for what it can't do, and what they mean here.
MEANINGS = (
    ("could not read Username", "there is no such repository, or it needs a password, which is not supported"),
    ("CONNECT tunnel failed, response 403", "policy doesn't grant the host"),
    ("returned error: 403", "the host refuses it, or policy doesn't grant the host"),
    ("not found", "there is no such repository"),
)


def arguments():
    clone = parser("Clones a repository.")
    clone.add_argument("--url", type=plain, required=True)
    clone.add_argument("--directory", type=plain)
    clone.add_argument("--depth", type=count)
    clone.add_argument("--branch", type=ref)
    return clone.parse_args()


def name_of(path):
    """What git would call the directory, made of plain characters."""
    last = unquote(path.rstrip("/").rpartition("/")[2]).removesuffix(".git")
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", last).lstrip("-.")
    return name or fail("directory: the address has no name for it; say where it is to be")


def main():
    given = arguments()
    url = urlsplit(given.url)
    if url.scheme not in ("https", "http") or not url.hostname or "@" in url.netloc:
        fail("url: must be an https address without user and password")
    directory = os.path.abspath(given.directory or name_of(url.path))
    # Of the user's configuration nothing counts: it could lead to another host (url.*.insteadOf).
    env = {**environment(protocols="https:http"), "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null"}
    options = ["--quiet", "--template=", "--no-recurse-submodules", "--no-local"]
    options += [f"--depth={given.depth}"] if given.depth else []
    options += [f"--branch={given.branch}"] if given.branch else []
    ended = run(["clone", *options, "--", given.url, directory], env)
    if ended.returncode != 0:
        problem = message_of(ended.stderr)
        meaning = next((f" ({meaning})" for words, meaning in MEANINGS if words in problem), "")
        fail(f"{problem}{meaning}", 1)

    def answer(*arguments):
        told = run(["-C", directory, *arguments], env)
        return told.stdout.decode(errors="replace").strip() if told.returncode == 0 else None

    branch, commit = answer("symbolic-ref", "--quiet", "--short", "HEAD"), answer("rev-parse", "--verify", "--quiet", "HEAD")
    print(json.dumps({"directory": directory, "branch": branch, "commit": commit}))


if __name__ == "__main__":
    main()
