"""Fetches a page and prints it as Markdown, other text as it is."""

import argparse


from common import Problem, limit_memory, run, show
from html_markdown import to_markdown
from http_get import content_type, fetched, pieces

SECONDS = 100
MAX_BYTES = 5 * 2**20
HTML = ("", "text/html", "application/xhtml+xml")
TEXT = ("application/json", "application/xml", "application/yaml", "application/javascript", "application/rss+xml", "application/atom+xml")


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--url", required=True)
    parser.add_argument("--start", type=int, required=True)
    parser.add_argument("--max-characters", type=int, required=True)
    args = parser.parse_args()
    limit_memory()
    with fetched(args.url, "text/html, text/plain;q=0.9, text/*;q=0.8, */*;q=0.1", SECONDS) as response:
        kind, url = content_type(response), response.url
        if kind == "application/pdf":
            raise Problem(f"{url} is a PDF; use fetchPdf")
        if kind not in HTML and kind not in TEXT and not kind.startswith("text/"):
            raise Problem(f"{url} is {kind}, no page; use downloadFile")
        charset = response.headers.get_content_charset()
        data = b"".join(pieces(response, MAX_BYTES))
    if kind in HTML:
        title, text = to_markdown(data, known(charset), url)
        text = f"Title: {title}\nURL: {url}\n\n{text}" if title else f"URL: {url}\n\n{text}"
    else:
        text = data.decode(known(charset) or "utf-8", "replace")
    end = args.start + args.max_characters
    show(text, args.max_characters, f"go on with start: {end}", args.start)


def known(charset):
    """A server may name one that there is none of, or that is no encoding of text."""
    try:
        b"".decode(charset or "utf-8")
    except (LookupError, ValueError):
        return None
    return charset


run(main)
