"""What the scripts take as arguments. The gateway has checked all of it already; this holds without it too."""

import argparse
import json
import re

from guarded import fail

REF = re.compile(r"[^\W][^\s\x00-\x1f\x7f:?*\[\\]*|@[^\s\x00-\x1f\x7f:?*\[\\]*")
MAX_REF_CHARS = 200


def ref(text):
    """A branch, tag or commit: one, not a range, and nothing that could be an option."""
    if len(text) > MAX_REF_CHARS or ".." in text or not REF.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no branch, tag or commit (ranges are two parameters)")
    return text


def plain(text):
    if text == "" or "\0" in text:
        raise argparse.ArgumentTypeError("must not be empty, nor hold NUL")
    return text


def count(text):
    if not re.fullmatch(r"[1-9][0-9]{0,6}", text):
        raise argparse.ArgumentTypeError("must be a whole number from 1")
    return int(text)


def paths(text):
    """A JSON array of texts."""
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, list) or value == [] or not all(isinstance(it, str) and it and "\0" not in it for it in value):
        raise argparse.ArgumentTypeError('must name at least one file or directory; ["."] is everything')
    return value


class Parser(argparse.ArgumentParser):
    def error(self, message):
        fail(message)


def parser(description):
    return Parser(prog="git-repo", description=description, allow_abbrev=False)


def command(commands, name):
    return commands.add_parser(name, allow_abbrev=False)
