"""The text of a PDF, page by page."""

import logging

import pypdf
import pypdf.errors

from common import Problem

MAX_PAGES = 2000


def pages_text(stream, first, last):
    """Of the pages from `first` to `last`; the last one of the document when None."""
    logging.getLogger("pypdf").setLevel(logging.CRITICAL)
    if b"%PDF-" not in stream.read(1024):
        raise Problem("this is no PDF file")
    stream.seek(0)
    try:
        reader = pypdf.PdfReader(stream)
        if reader.is_encrypted and not reader.decrypt(""):
            raise Problem("the PDF is encrypted with a password")
        count = len(reader.pages)
    except (MemoryError, Problem):
        raise
    except Exception as error:  # noqa: BLE001: a hostile file makes the parser fail in any way
        raise Problem(f"the PDF can't be read: {type(error).__name__}: {str(error)[:200]}") from None
    if first > count:
        raise Problem(f"the PDF has {count} pages; firstPage is {first}")
    end = min(count, last or count)
    if end < first:
        raise Problem("lastPage is before firstPage")
    if end - first >= MAX_PAGES:
        raise Problem(f"the PDF has {count} pages; ask for at most {MAX_PAGES} at a time with firstPage and lastPage")
    texts = [text_of(reader, number) for number in range(first, end + 1)]
    if not any(texts):
        raise Problem(f"there is no text on pages {first} to {end} of {count}: they may be scanned pictures")
    return "\n\n".join(f"--- page {first + at} of {count} ---\n{text}" for at, text in enumerate(texts))


def text_of(reader, number):
    try:
        return (reader.pages[number - 1].extract_text() or "").strip()
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001: the other pages may be well
        return f"(this page can't be read: {type(error).__name__})"
