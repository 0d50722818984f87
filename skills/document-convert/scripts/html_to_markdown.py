"""HTML as Markdown."""

import argparse

from common import add_output, existing_file, give, limit_memory, run
from html_markdown import to_markdown

MAX_BYTES = 5 * 2**20


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--path", required=True)
    add_output(parser)
    args = parser.parse_args()
    limit_memory()
    with open(existing_file(args.path, MAX_BYTES), "rb") as file:
        _, text = to_markdown(file.read())
    give(text, args)


run(main)
