"""Fetches JSON and prints it, or a part of it."""

import argparse
import json

from common import MAX_RESULT_CHARACTERS, Problem, run
from http_get import content_type, fetched, pieces

SECONDS = 100
MAX_BYTES = 5 * 2**20


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--url", required=True)
    parser.add_argument("--pointer", default="")
    args = parser.parse_args()
    with fetched(args.url, "application/json, */*;q=0.1", SECONDS) as response:
        kind = content_type(response)
        if kind and "json" not in kind and not kind.startswith("text/plain"):
            raise Problem(f"{response.url} is {kind}, not JSON; use fetchPage for a page, downloadFile for a file")
        data = b"".join(pieces(response, MAX_BYTES))
    try:
        value = json.loads(data, parse_constant=no_constant)
    except (ValueError, RecursionError) as error:
        raise Problem(f"{args.url} is no JSON: {error}") from None
    text = json.dumps(part(value, args.pointer))
    if len(text) > MAX_RESULT_CHARACTERS:
        raise Problem(f"the answer is long ({len(text)} characters); name a part with pointer, or use downloadFile. It is {outline(value)}")
    print(text)


def no_constant(text):
    raise ValueError(f"{text} is no JSON")


def part(value, pointer):
    """RFC 6901."""
    for step in pointer.split("/")[1:]:
        key = step.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isascii() and key.isdigit() and len(key) < 10 and int(key) < len(value):
            value = value[int(key)]
        else:
            raise Problem(f"the answer has no {pointer}: no {key!r} in {outline(value)}")
    return value


def outline(value):
    if isinstance(value, dict):
        return f"an object with {', '.join(list(value)[:30])[:500]}"
    return f"a list of {len(value)}" if isinstance(value, list) else "a single value"


run(main)
