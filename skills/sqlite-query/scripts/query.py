"""Runs one query and prints columns and rows as JSON."""

import argparse
import contextlib
import json

from common import MAX_RESULT_CHARACTERS, run, strings
from database import as_json, explained, read_only, select

SECONDS = 100


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--database", required=True)
    parser.add_argument("--sql", required=True)
    parser.add_argument("--parameters", type=strings, default=[])
    parser.add_argument("--limit", type=int, required=True)
    args = parser.parse_args()
    with explained(), contextlib.closing(read_only(args.database, SECONDS)) as connection:
        cursor = select(connection, args.sql, args.parameters)
        columns = [it[0] for it in cursor.description]
        rows, cut = bounded(cursor, args.limit, MAX_RESULT_CHARACTERS - len(json.dumps(columns)))
    result = {"columns": columns, "rows": rows, "rowCount": len(rows), "truncated": cut is not None}
    print(json.dumps(result | ({"truncatedBecause": cut} if cut else {}), ensure_ascii=True))


def bounded(cursor, limit, characters):
    """As many rows as fit, and why there are no more, when there are more."""
    rows = []
    for row in cursor:
        if len(rows) == limit:
            return rows, f"limit is {limit}"
        rows.append([as_json(it) for it in row])
        characters -= len(json.dumps(rows[-1])) + 2
        if characters < 0:
            rows.pop()
            return rows, "the result is too long; select fewer columns, or use exportQuery"
    return rows, None


run(main)
