"""Fetches a PDF and prints its text."""

import argparse
import io

from common import Problem, limit_memory, run, show
from http_get import content_type, fetched, pieces
from pdf_text import pages_text

SECONDS = 200
MAX_BYTES = 50 * 2**20
KINDS = ("", "application/pdf", "application/x-pdf", "application/octet-stream", "binary/octet-stream")


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--url", required=True)
    parser.add_argument("--first-page", type=int, required=True)
    parser.add_argument("--last-page", type=int)
    parser.add_argument("--max-characters", type=int, required=True)
    args = parser.parse_args()
    limit_memory()
    with fetched(args.url, "application/pdf, */*;q=0.1", SECONDS) as response:
        if content_type(response) not in KINDS:
            raise Problem(f"{response.url} is {content_type(response)}, no PDF; use fetchPage for a page, downloadFile for a file")
        data = b"".join(pieces(response, MAX_BYTES))
    show(pages_text(io.BytesIO(data), args.first_page, args.last_page), args.max_characters, "name fewer pages with firstPage and lastPage")


run(main)
