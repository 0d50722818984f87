"""Markdown as HTML."""

import argparse
import html

from markdown_it import MarkdownIt

from common import Problem, add_output, existing_file, give, limit_memory, run

MAX_BYTES = 5 * 2**20
PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
</head>
<body>
{body}</body>
</html>
"""


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--path", required=True)
    parser.add_argument("--page", action="store_true")
    parser.add_argument("--allow-html", action="store_true")
    add_output(parser)
    args = parser.parse_args()
    limit_memory()
    with open(existing_file(args.path, MAX_BYTES), encoding="utf-8-sig", errors="replace") as file:
        text = file.read()
    markdown = MarkdownIt("commonmark", {"html": args.allow_html}).enable(["table", "strikethrough"])
    try:
        tokens = markdown.parse(text)
        body = markdown.renderer.render(tokens, markdown.options, {})
    except RecursionError:
        raise Problem("the Markdown is nested too deeply to be converted") from None
    give(PAGE.format(title=html.escape(title_of(tokens)), body=body) if args.page else body, args)


def title_of(tokens):
    """The first heading's words."""
    for token, following in zip(tokens, tokens[1:]):
        if token.type == "heading_open":
            return "".join(it.content for it in following.children or [])[:200]
    return "Document"


run(main)
