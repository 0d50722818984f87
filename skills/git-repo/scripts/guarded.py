"""Runs git in an environment of its own, so that no program that a repository or its surroundings name is run.

A repository is hostile: its .git/config may name programs (hooks, filters, external diffs, text conversions, pagers, signers, monitors,
transports), and its .gitattributes say for which files. Those that have a fixed name are switched off here, filters by whatever names the
configuration has, transports by GIT_ALLOW_PROTOCOL, which no configuration overrides; those of diffs by arguments (`PLAIN_DIFF`).
"""

import os
import re
import subprocess
import sys
import tempfile

# What git may know of its surroundings: how to reach the network, and whose certificates to accept.
INHERITED = (
    "PATH", "HOME", "TMPDIR", "GIT_SSL_CAINFO", "SSL_CERT_FILE", "CURL_CA_BUNDLE",
    "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
)
ENVIRONMENT = {
    "LC_ALL": "C.UTF-8",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "",
    "GIT_EDITOR": "false",
    "GIT_PAGER": "cat",
    "GIT_SSH_COMMAND": "false",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    # `:(top)` and `*` are names like others.
    "GIT_LITERAL_PATHSPECS": "1",
}
CONFIGURATION = (
    ("core.fsmonitor", "false"),
    ("core.hooksPath", "/dev/null"),
    ("core.pager", "cat"),
    ("core.quotePath", "false"),
    ("color.ui", "false"),
    ("credential.helper", ""),
    ("commit.gpgSign", "false"),
    ("log.showSignature", "false"),
    ("gpg.program", "false"),
    ("gpg.ssh.program", "false"),
    ("gpg.x509.program", "false"),
    # Housekeeping runs programs too (gc.recentObjectsHook).
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    # A submodule is a repository with a configuration of its own: none is entered.
    ("submodule.recurse", "false"),
    ("diff.ignoreSubmodules", "dirty"),
    ("diff.submodule", "short"),
    ("status.submoduleSummary", "false"),
)
PLAIN_DIFF = (
    "--no-color", "--no-ext-diff", "--no-textconv", "--ignore-submodules=dirty", "--submodule=short",
    "--src-prefix=a/", "--dst-prefix=b/",
)
FILTER = re.compile(r"filter\.(.+)\.(clean|smudge|process|required)", re.DOTALL | re.IGNORECASE)
NO_REPOSITORY = b"not a git repository"
MAX_OUTPUT_BYTES = 200_000
MAX_MESSAGE_CHARS = 500


class Repository:
    """The one that the working directory is in."""

    def __init__(self):
        listed = run(["config", "--list", "--name-only", "-z"], environment())
        if listed.returncode != 0:
            fail(message_of(listed.stderr), 1)
        self.settings = frozenset(listed.stdout.decode(errors="surrogateescape").split("\0"))
        filters = [(name, FILTER.fullmatch(name)) for name in sorted(self.settings)]
        self.filters = sorted({found[1] for _, found in filters if found})
        off = tuple((name, "false" if found[2].lower() == "required" else "") for name, found in filters if found)
        self._environment = environment(off + self._identity())

    def _identity(self):
        stand_ins = (("user.name", "Glovebox agent"), ("user.email", "agent@glovebox.invalid"))
        return tuple(it for it in stand_ins if it[0] not in self.settings)

    def run(self, arguments):
        """What git wrote; it ends this program when git fails."""
        ended = run(arguments, self._environment)
        if ended.returncode != 0:
            fail(message_of(ended.stderr), 1)
        return ended.stdout.decode(errors="replace").strip()

    def try_run(self, arguments):
        return run(arguments, self._environment)

    def run_into(self, arguments, file):
        """What was wrong, if anything; what git wrote is in the file."""
        with start(arguments, self._environment, stdout=file, stderr=subprocess.PIPE) as git:
            _, errors = git.communicate()
        return None if git.returncode == 0 else message_of(errors)

    def commit(self, ref, field):
        """The hash of the commit that a ref means. Nothing but this command ever sees what was typed."""
        found = self.try_run(["rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}"])
        hash = found.stdout.decode(errors="replace").strip()
        if NO_REPOSITORY in found.stderr:
            fail(message_of(found.stderr))
        if found.returncode != 0 or not re.fullmatch(r"[0-9a-f]{40,64}", hash):
            fail(f"{field}: there is no commit {ref!r} here")
        return hash

    def print(self, arguments, nothing):
        """Passes on what git writes, up to a limit, or says `nothing`. How many lines that was."""
        with tempfile.TemporaryFile() as errors:
            with start(arguments, self._environment, stdout=subprocess.PIPE, stderr=errors) as git:
                text = git.stdout.read(MAX_OUTPUT_BYTES + 1)
                cut = len(text) > MAX_OUTPUT_BYTES
                if cut:
                    git.kill()
            if git.returncode != 0 and not cut:
                errors.seek(0)
                fail(message_of(errors.read(MAX_OUTPUT_BYTES)), 1)
        if cut:
            text = text[: text.rfind(b"\n", 0, MAX_OUTPUT_BYTES) + 1]
        print(text.decode(errors="replace").rstrip("\n") or nothing)
        if cut:
            print(f"… cut after {len(text)} bytes: ask for less")
        return len(text.splitlines())


def environment(settings=(), protocols="none"):
    """Git takes these settings before all files' (GIT_CONFIG_COUNT), and names may hold any character there."""
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    given = {}
    for index, (name, value) in enumerate(CONFIGURATION + tuple(settings)):
        given[f"GIT_CONFIG_KEY_{index}"] = name
        given[f"GIT_CONFIG_VALUE_{index}"] = value
    count = str(len(CONFIGURATION) + len(settings))
    return {**inherited, **ENVIRONMENT, **given, "GIT_CONFIG_COUNT": count, "GIT_ALLOW_PROTOCOL": protocols}


def run(arguments, env):
    with start(arguments, env, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as git:
        stdout, stderr = git.communicate()
    return subprocess.CompletedProcess(arguments, git.returncode, stdout, stderr)


def start(arguments, env, **streams):
    try:
        return subprocess.Popen(["git", *arguments], env=env, stdin=subprocess.DEVNULL, **streams)
    except OSError as error:
        # A configuration that names too many filters is refused here: it does not fit an environment.
        fail(f"can't start git: {error.strerror}", 1)


def message_of(stderr):
    """What git complains about, in one line."""
    if NO_REPOSITORY in stderr:
        return f"{os.getcwd()} is in no git repository; clone one, or name a directory of it"
    lines = [line.strip() for line in stderr.decode(errors="replace").splitlines()]
    blamed = [re.sub(r"^(fatal|error): ", "", line) for line in lines if re.match(r"(fatal|error): ", line)]
    text = "; ".join(blamed or [line for line in lines if line] or ["git failed and doesn't say why"])
    return re.sub(r"[\x00-\x1f\x7f]+", " ", text)[:MAX_MESSAGE_CHARS]


def fail(message, code=2):
    print(f"git-repo: {message}", file=sys.stderr)
    sys.exit(code)
