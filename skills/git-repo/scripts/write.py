"""Writes to a repository, or from it to a file: commit, branch, patch."""

import os
import sys

sys.dont_write_bytecode = True

from typed import command, parser, paths, plain, ref  # noqa: E402
from guarded import PLAIN_DIFF, Repository, fail, message_of  # noqa: E402

MAX_NAMED_FILTERS = 10
# What a repository's configuration may add to a patch is left out.
PLAIN_PATCH = (
    "--stdout", "--binary", "--full-index", "--no-attach", "--no-cover-letter", "--no-signature", "--no-thread",
    "--no-to", "--no-cc", "--no-add-header", "--no-notes", "--no-base",
)


def arguments():
    write = parser("Writes to the repository that the working directory is in.")
    commands = write.add_subparsers(dest="command", required=True)
    commit = command(commands, "commit")
    commit.add_argument("--message", type=plain, required=True)
    commit.add_argument("--paths", type=paths, required=True)
    branch = command(commands, "branch")
    branch.add_argument("--name", type=ref, required=True)
    branch.add_argument("--from", type=ref, dest="base", default="HEAD")
    branch.add_argument("--stay", action="store_true")
    patch = command(commands, "patch")
    patch.add_argument("--from", type=ref, dest="base", default="HEAD~1")
    patch.add_argument("--to", type=ref, default="HEAD")
    patch.add_argument("--output", type=plain, required=True)
    patch.add_argument("--overwrite", action="store_true")
    return write.parse_args()


def commit(repository, given):
    repository.run(["add", "--all", "--", *given.paths])
    options = ["--quiet", "--no-verify", "--no-gpg-sign", "--no-status", "--no-verbose", "--cleanup=whitespace"]
    ended = repository.try_run(["commit", *options, f"--message={given.message}", "--only", "--", *given.paths])
    if ended.returncode != 0:
        fail(message_of(ended.stderr) if ended.stderr.strip() else "nothing to commit: these paths have no changes", 1)
    shown = ["--format=commit %H%d%nAuthor: %an <%ae>%n%n    %s%n", "--no-show-signature", "--no-notes"]
    repository.print(["show", *shown, *PLAIN_DIFF, "--stat=160", "--summary", "HEAD"], "")
    if repository.filters:
        print(f"Left out: the filters {', '.join(repository.filters[:MAX_NAMED_FILTERS])}, which the configuration names.")


def branch(repository, given):
    if repository.try_run(["check-ref-format", "--branch", given.name]).returncode != 0:
        fail(f"name: {given.name!r} is no name for a branch")
    start = repository.commit(given.base, "from")
    if given.stay:
        repository.run(["branch", "--no-track", "--", given.name, start])
    else:
        repository.run(["switch", "--quiet", "--no-track", "--create", given.name, start])
    print(f"{given.name} is at {start}{'' if given.stay else ' and checked out'}.")


def patch(repository, given):
    base, to = repository.commit(given.base, "from"), repository.commit(given.to, "to")
    commits = int(repository.run(["rev-list", "--count", "--no-merges", "--end-of-options", f"{base}..{to}"]))
    if commits == 0:
        fail(f"from: there are no commits after {given.base!r} up to {given.to!r}")
    try:
        ways = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | (os.O_TRUNC if given.overwrite else os.O_EXCL)
        file = os.open(given.output, ways, 0o644)
    except FileExistsError:
        fail(f"output: {given.output} exists; choose another name, or pass overwrite")
    except OSError as error:
        fail(f"output: can't write {given.output}: {error.strerror}")
    with open(file, "wb") as output:
        problem = repository.run_into(["format-patch", *PLAIN_PATCH, *PLAIN_DIFF, "--end-of-options", f"{base}..{to}"], output)
    if problem:
        os.unlink(given.output)
        fail(problem, 1)
    print(f"{commits} {'commit' if commits == 1 else 'commits'} in {given.output}")


if __name__ == "__main__":
    given = arguments()
    {"commit": commit, "branch": branch, "patch": patch}[given.command](Repository(), given)
