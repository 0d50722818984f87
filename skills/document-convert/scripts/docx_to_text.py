"""The text of a Word document."""

import argparse
import re
import zipfile

import docx
from docx.table import Table, _Cell

from common import Problem, add_output, existing_file, give, limit_memory, run

MAX_BYTES = 20 * 2**20
MAX_UNPACKED_BYTES = 100 * 2**20
MAX_XML_BYTES = 30 * 2**20
MAX_ENTRIES = 5000


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--path", required=True)
    parser.add_argument("--format", choices=["text", "markdown"], required=True)
    add_output(parser)
    args = parser.parse_args()
    limit_memory()
    check(existing_file(args.path, MAX_BYTES))
    try:
        document = docx.Document(args.path)
        blocks = [block(it, args.format == "markdown") for it in document.iter_inner_content()]
    except MemoryError:
        raise Problem("the document is too large to be read") from None
    except Exception as error:  # noqa: BLE001: a hostile file makes the parser fail in any way
        raise Problem(f"{args.path} can't be read as a Word document: {type(error).__name__}: {str(error)[:200]}") from None
    give("\n\n".join(it for it in blocks if it).replace("\n\n- ", "\n- ").replace("\n\n1. ", "\n1. "), args)


def check(path):
    """What it unpacks to, before anything is unpacked: reading an entry ends at the size that it states."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise Problem(f"{path} is no .docx file ({error}); an old .doc must be saved as .docx first") from None
    if len(entries) > MAX_ENTRIES or sum(it.file_size for it in entries) > MAX_UNPACKED_BYTES:
        raise Problem(f"{path} unpacks to more than {MAX_UNPACKED_BYTES // 2**20} MiB or {MAX_ENTRIES} files; it is not read")
    if any(it.file_size > MAX_XML_BYTES for it in entries if it.filename.lower().endswith((".xml", ".rels"))):
        raise Problem(f"{path} has a part of more than {MAX_XML_BYTES // 2**20} MiB of XML; it is not read")
    if any(it.flag_bits & 1 for it in entries):
        raise Problem(f"{path} is encrypted")


def block(item, markdown):
    if isinstance(item, Table):
        return table(item, markdown)
    text = item.text.strip()
    style = (item.style.name if item.style else "") or ""
    if not text:
        return ""
    if style.startswith("List Number"):
        return f"1. {text}" if markdown else f"- {text}"
    if style.startswith("List"):
        return f"- {text}"
    if not markdown:
        return text
    level = re.fullmatch(r"Heading ([1-6])", style)
    return f"{'#' * (int(level[1]) if level else 1)} {text}" if level or style == "Title" else text


def table(item, markdown):
    # Not `row.cells`: it repeats a cell as often as its span claims, and a document can claim any.
    rows = [[_Cell(it, item).text.strip() for it in row._tr.tc_lst] for row in item.rows]
    if not markdown:
        return "\n".join("\t".join(" ".join(it.split()) for it in row) for row in rows)
    width = max((len(it) for it in rows), default=0)
    lines = [
        f"| {' | '.join([*(it.replace('|', chr(92) + '|').replace(chr(10), '<br>') for it in row), *[''] * (width - len(row))])} |"
        for row in rows
    ]
    return "\n".join([*lines[:1], "|" + " --- |" * width, *lines[1:]])


run(main)
