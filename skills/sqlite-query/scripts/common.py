"""What the scripts of this skill share: errors as one line, files written whole or not at all."""

import contextlib
import json
import os
import sys
import tempfile

# What a result may be as text. The gateway keeps 64 KiB of a program's output by default, and cut JSON is none.
MAX_RESULT_CHARACTERS = 60_000


class Problem(Exception):
    """What the caller can mend. Its text says what is wrong and what to do."""


def run(main):
    """Exit code 2 and one line on stderr for a Problem, and no traceback for what else goes wrong with files."""
    try:
        main()
    except Problem as problem:
        sys.exit(complain(problem))
    except (OSError, MemoryError, RecursionError) as error:
        sys.exit(complain(f"{type(error).__name__}: {error}"))


def complain(problem):
    print(" ".join(str(problem).split())[:1000], file=sys.stderr)
    return 2


def strings(text):
    """An argument that is a JSON list of texts."""
    value = json.loads(text)
    if not isinstance(value, list) or not all(isinstance(it, str) for it in value):
        raise ValueError("not a list of texts")
    return value


def existing_file(path):
    if not os.path.exists(path):
        raise Problem(f"there is no file {path}")
    if not os.path.isfile(path):
        raise Problem(f"{path} is no regular file")
    return path


@contextlib.contextmanager
def whole_file(path, overwrite):
    """The name of a file beside `path` that takes its place at the end, if nothing went wrong."""
    if os.path.isdir(path):
        raise Problem(f"{path} is a directory; name a file")
    if os.path.lexists(path) and not overwrite:
        raise Problem(f"{path} exists; choose another name, or pass overwrite: true")
    parent = os.path.dirname(os.path.abspath(path))
    os.makedirs(parent, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".writing-", dir=parent) as directory:
        name = os.path.join(directory, "file")
        yield name
        os.replace(name, path)
