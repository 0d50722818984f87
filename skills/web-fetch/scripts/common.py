"""What the scripts of this skill share: errors as one line, files written whole or not at all."""

import contextlib
import os
import resource
import sys
import tempfile

# What a result may be as text. The gateway keeps 64 KiB of a program's output by default, and cut JSON is none.
MAX_RESULT_CHARACTERS = 60_000
# Addresses, which is more than the memory that is in use.
MAX_MEMORY_BYTES = 1536 * 2**20


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


def show(text, max_characters, more, start=0):
    """Prints a part of a text; its last line says what is left out, and how to get `more`."""
    end = start + max_characters
    if start > len(text) or (start == len(text) and text):
        raise Problem(f"the text has {len(text)} characters; start is {start}")
    print(text[start:end].encode("utf-8", "replace").decode())
    if end < len(text):
        print(f"[these are characters {start} to {end} of {len(text)}; {more}]")


def limit_memory():
    """A hostile document makes this program fail, not its neighbours."""
    # Not every system can: where it can't, the sandbox's own limit holds.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
