"""Runs one query and writes its rows into a CSV file."""

import argparse
import base64
import contextlib
import csv
import json
import os

from common import Problem, run, strings, whole_file
from database import explained, read_only, select

SECONDS = 540


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--database", required=True)
    parser.add_argument("--sql", required=True)
    parser.add_argument("--parameters", type=strings, default=[])
    parser.add_argument("--out", required=True)
    parser.add_argument("--overwrite", action="store_true")
    args = parser.parse_args()
    with explained(), contextlib.closing(read_only(args.database, SECONDS)) as connection:
        if os.path.exists(args.out) and os.path.samefile(args.out, args.database):
            raise Problem("out is the database itself; name another file")
        cursor = select(connection, args.sql, args.parameters)
        columns = [it[0] for it in cursor.description]
        with whole_file(args.out, args.overwrite) as name, open(name, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(columns)
            count = 0
            for row in cursor:
                writer.writerow(base64.b64encode(it).decode() if isinstance(it, bytes) else it for it in row)
                count += 1
    print(json.dumps({"path": args.out, "rows": count, "columns": columns, "bytes": os.path.getsize(args.out)}))


run(main)
