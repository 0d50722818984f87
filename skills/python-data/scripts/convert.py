"""Converts a data file to another format."""

import argparse
import json
import os

from common import Problem, run, whole_file
from table import ending_of, literal, opened

WRITERS = {
    ".csv": "format csv, header true",
    ".tsv": "format csv, header true, delimiter '\t'",
    ".jsonl": "format json",
    ".ndjson": "format json",
    ".json": "format json, array true",
    ".parquet": "format parquet, compression zstd",
}


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--path", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--overwrite", action="store_true")
    args = parser.parse_args()
    writer = WRITERS[ending_of(args.out)]
    with opened(args.path) as table, whole_file(args.out, args.overwrite) as name:
        if os.path.exists(args.out) and os.path.samefile(args.path, args.out):
            raise Problem("path and out are the same file")
        [[count]] = table.rows(f"copy (select * from data) to {literal(name)} ({writer})")
        columns = list(table.columns)
    print(json.dumps({"path": args.out, "rows": count, "columns": columns[:200], "bytes": os.path.getsize(args.out)}))


run(main)
