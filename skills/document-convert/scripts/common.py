"""What the scripts of this skill share: errors as one line, files written whole or not at all."""

import contextlib
import os
import resource
import sys
import tempfile

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


def existing_file(path, max_bytes):
    if not os.path.exists(path):
        raise Problem(f"there is no file {path}")
    if not os.path.isfile(path):
        raise Problem(f"{path} is no regular file")
    if os.path.getsize(path) > max_bytes:
        raise Problem(f"{path} is larger than {max_bytes // 2**20} MiB")
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


def add_output(parser):
    parser.add_argument("--out")
    parser.add_argument("--overwrite", action="store_true")
    parser.add_argument("--max-characters", type=int, required=True)


def give(text, args):
    """Into the file that `--out` names, or to standard output, cut where it is long."""
    text = text.encode("utf-8", "replace").decode()
    if args.out:
        with whole_file(args.out, args.overwrite) as name, open(name, "w", encoding="utf-8") as file:
            file.write(text)
        print(f"wrote {len(text)} characters to {args.out}")
        return
    print(text[: args.max_characters])
    if len(text) > args.max_characters:
        print(f"[these are {args.max_characters} of {len(text)} characters; pass out to write all into a file]")


def limit_memory():
    """A hostile document makes this program fail, not its neighbours."""
    # Not every system can: where it can't, the sandbox's own limit holds.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
