"""The text of a PDF file."""

import argparse

from common import add_output, existing_file, give, limit_memory, run
from pdf_text import pages_text

MAX_BYTES = 50 * 2**20


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--path", required=True)
    parser.add_argument("--first-page", type=int, required=True)
    parser.add_argument("--last-page", type=int)
    add_output(parser)
    args = parser.parse_args()
    limit_memory()
    with open(existing_file(args.path, MAX_BYTES), "rb") as file:
        give(pages_text(file, args.first_page, args.last_page), args)


run(main)
