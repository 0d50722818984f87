"""A CSV file as a Markdown table."""

import argparse
import csv
import itertools

from common import Problem, add_output, existing_file, give, run

DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
MAX_BYTES = 20 * 2**20


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--path", required=True)
    parser.add_argument("--delimiter", choices=DELIMITERS, required=True)
    parser.add_argument("--max-rows", type=int, required=True)
    add_output(parser)
    args = parser.parse_args()
    try:
        with open(existing_file(args.path, MAX_BYTES), encoding="utf-8-sig", newline="") as file:
            reader = (it for it in csv.reader(file, delimiter=DELIMITERS[args.delimiter], strict=True) if it)
            head = next(reader, None)
            rows = list(itertools.islice(reader, args.max_rows))
            left = sum(1 for _ in reader)
    except UnicodeError:
        raise Problem(f"{args.path} is not UTF-8") from None
    except csv.Error as error:
        raise Problem(f"{args.path} is no CSV file: {error}") from None
    if head is None:
        raise Problem(f"{args.path} is empty")
    width = max(len(it) for it in [head, *rows])
    lines = [line(head, width), "|" + " --- |" * width, *(line(it, width) for it in rows)]
    note = f"\n\n{left} more rows are left out." if left else ""
    give("\n".join(lines) + note, args)


def line(values, width):
    cells = [*map(cell, values), *[""] * (width - len(values))]
    return f"| {' | '.join(cells)} |"


def cell(text):
    """What would end the cell, or begin an element of HTML, loses that meaning."""
    text = text.replace("\0", "").replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;")
    return "<br>".join(text.splitlines()).strip()


run(main)
