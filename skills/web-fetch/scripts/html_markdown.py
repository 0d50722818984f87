"""HTML as Markdown."""

import contextlib
import urllib.parse

import bs4
import markdownify

from common import Problem

LEFT_OUT = ["script", "style", "noscript", "template", "svg", "iframe", "object", "embed", "canvas"]
MAX_DATA_URL = 200


def to_markdown(data, charset=None, base=None):
    """Title and text. Links become absolute where the page's address is known."""
    try:
        soup = bs4.BeautifulSoup(data, "html.parser", from_encoding=charset)
        title = " ".join(soup.title.get_text().split())[:300] if soup.title else ""
        for tag in soup(LEFT_OUT):
            tag.decompose()
        for tag in soup.find_all(["head", "title"]):
            tag.decompose()
        for tag, name in [*((it, "href") for it in soup("a")), *((it, "src") for it in soup("img"))]:
            tag[name] = address(tag.get(name, ""), base)
        text = markdownify.MarkdownConverter(heading_style=markdownify.ATX, bullets="-").convert_soup(soup)
    except RecursionError:
        raise Problem("the HTML is nested too deeply to be converted") from None
    return title, "\n".join(squeezed(text.splitlines())).strip()


def address(text, base):
    text = str(text)
    if text.lower().startswith("data:") and len(text) > MAX_DATA_URL:
        return "data:left-out"
    with contextlib.suppress(ValueError):
        return urllib.parse.urljoin(base, text) if base else text
    return text


def squeezed(lines):
    """Never more than one blank line."""
    last = ""
    for line in (it.rstrip() for it in lines):
        if line or last:
            yield line
        last = line
