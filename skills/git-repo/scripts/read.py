"""Reads a repository: log, diff, status, show."""

import sys

sys.dont_write_bytecode = True

from typed import command, count, parser, plain, ref  # noqa: E402
from guarded import PLAIN_DIFF, Repository, fail  # noqa: E402

HEADER = "--format=commit %H%d%nAuthor: %an <%ae>%nDate:   %aI%nCommit: %cn <%ce>, %cI%n%n%w(0,4,4)%B"


def arguments():
    read = parser("Reads the repository that the working directory is in.")
    commands = read.add_subparsers(dest="command", required=True)
    log = command(commands, "log")
    log.add_argument("--count", type=count, default=20)
    log.add_argument("--ref", type=ref, default="HEAD")
    log.add_argument("--author", type=plain)
    log.add_argument("--since", type=plain)
    log.add_argument("--path", type=plain)
    diff = command(commands, "diff")
    diff.add_argument("--from", type=ref, dest="base")
    diff.add_argument("--to", type=ref)
    diff.add_argument("--path", type=plain)
    diff.add_argument("--stat-only", action="store_true")
    command(commands, "status")
    show = command(commands, "show")
    show.add_argument("--ref", type=ref, default="HEAD")
    show.add_argument("--path", type=plain)
    show.add_argument("--stat-only", action="store_true")
    return read.parse_args()


def log(repository, given):
    options = [f"--max-count={given.count}", "--no-show-signature", "--no-notes", "--no-color", "--no-patch"]
    # What is typed is a part of the name, not a regular expression.
    options += ["--fixed-strings", "--regexp-ignore-case", f"--author={given.author}"] if given.author else []
    options += [f"--since={given.since}"] if given.since else []
    form = "--format=%h %aI %an <%ae>%d: %s"
    commit = repository.commit(given.ref, "ref")
    repository.print(["log", *options, form, "--end-of-options", commit, "--", *within(given)], "No commits match.")


def diff(repository, given):
    if given.to and not given.base:
        fail("to: needs from, too")
    ends = [repository.commit(given.base or "HEAD", "from")]
    ends += [repository.commit(given.to, "to")] if given.to else []
    arguments = ["diff", *PLAIN_DIFF, *shape(given), "--end-of-options", *ends, "--", *within(given)]
    repository.print(arguments, "No differences.")


def status(repository, _):
    options = ["--porcelain=v1", "--branch", "--untracked-files=normal", "--ignore-submodules=dirty"]
    if repository.print(["status", *options], "") == 1:
        print("Nothing to commit: the working tree is clean.")


def show(repository, given):
    commit = repository.commit(given.ref, "ref")
    options = [HEADER, "--no-show-signature", "--no-notes", "--diff-merges=first-parent", *PLAIN_DIFF, *shape(given)]
    repository.print(["show", *options, "--end-of-options", commit, "--", *within(given)], "The commit doesn't change it.")


def shape(given):
    return ["--stat=160", "--summary"] if given.stat_only else ["--stat=160", "--patch"]


def within(given):
    return [given.path] if given.path else []


if __name__ == "__main__":
    given = arguments()
    {"log": log, "diff": diff, "status": status, "show": show}[given.command](Repository(), given)
