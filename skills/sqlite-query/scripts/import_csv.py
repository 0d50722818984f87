"""Reads a CSV file into a table, all of it or nothing."""

import argparse
import contextlib
import csv
import json
import os
import re
import sqlite3

from common import Problem, existing_file, run
from database import connect, explained, quoted

DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|"}
ENCODINGS = {"utf-8": "utf-8-sig", "utf-16": "utf-16", "windows-1252": "windows-1252"}
MAX_COLUMNS = 2000
MAX_VALUE_CHARACTERS = 4 * 1024 * 1024
# No leading zeros, which are part of a postal code or an article's number.
INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})", re.ASCII)
REAL = re.compile(r"-?(0|[1-9][0-9]{0,14})(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?", re.ASCII)


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--database", required=True)
    parser.add_argument("--path", required=True)
    parser.add_argument("--table", required=True)
    parser.add_argument("--mode", choices=["create", "append"], required=True)
    parser.add_argument("--delimiter", choices=DELIMITERS, required=True)
    parser.add_argument("--encoding", choices=ENCODINGS, required=True)
    args = parser.parse_args()
    existing_file(args.path)
    is_new = not os.path.exists(args.database)
    if args.mode == "append":
        existing_file(args.database)
    csv.field_size_limit(MAX_VALUE_CHARACTERS)
    try:
        with explained(), contextlib.closing(connect(args.database, "rwc" if is_new else "rw")) as connection:
            connection.execute("begin immediate")
            result = fill(connection, args)
            connection.execute("commit")
    except BaseException:
        if is_new:
            with contextlib.suppress(FileNotFoundError):
                os.remove(args.database)
        raise
    print(json.dumps(result))


def fill(connection, args):
    names = next(lines(args), None)
    if names is None:
        raise Problem(f"{args.path} is empty; its first line must name the columns")
    names = column_names(names)
    # A column's type is known when all of its values were seen, so the file is read twice.
    types = types_of(args, len(names)) if args.mode == "create" else None
    if types is None:
        have_columns(connection, args.table, names)
    else:
        create(connection, args.table, names, types)
    columns = ", ".join(quoted(it) for it in names)
    before = connection.total_changes
    connection.executemany(
        f"insert into {quoted(args.table)} ({columns}) values ({', '.join('?' * len(names))})",
        ([value or None for value in row] for row in rows(args, len(names))),
    )
    described = [{"name": name} | ({"type": types[at]} if types else {}) for at, name in enumerate(names)]
    return {"table": args.table, "rows": connection.total_changes - before, "columns": described}


def lines(args):
    """Each line's values, blank lines left out."""
    with open(args.path, encoding=ENCODINGS[args.encoding], newline="") as file:
        reader = csv.reader(file, delimiter=DELIMITERS[args.delimiter], strict=True)
        try:
            for row in reader:
                if any("\0" in it for it in row):
                    raise Problem(f"{args.path}, line {reader.line_num}: holds a NUL character; is it a CSV file, and of this encoding?")
                if row:
                    yield row
        except UnicodeError:
            raise Problem(f"{args.path}: after line {reader.line_num}, not {args.encoding}; choose another encoding") from None
        except csv.Error as error:
            raise Problem(f"{args.path}, line {reader.line_num}: {error}") from None


def rows(args, width):
    found = lines(args)
    next(found)
    for number, row in enumerate(found, 1):
        if len(row) != width:
            raise Problem(f"{args.path}: row {number} has {len(row)} values, the first line names {width} columns; is the delimiter right?")
        yield row


def column_names(head):
    """As the first line has them; a name that is empty or there already (SQLite doesn't tell `a` from `A`) gets a number."""
    if len(head) > MAX_COLUMNS:
        raise Problem(f"the file has {len(head)} columns; at most {MAX_COLUMNS} fit into a table")
    taken, names = set(), []
    for at, text in enumerate(head, 1):
        name, wanted, number = text.strip() or f"column_{at}", text.strip() or f"column_{at}", 2
        while name.lower() in taken:
            name, number = f"{wanted}_{number}", number + 1
        taken.add(name.lower())
        names.append(name)
    return names


def types_of(args, width):
    could_be = [[("INTEGER", INTEGER), ("REAL", REAL)] for _ in range(width)]
    seen = [False] * width
    for row in rows(args, width):
        for at, value in enumerate(row):
            if value:
                seen[at] = True
                if could_be[at]:
                    could_be[at] = [it for it in could_be[at] if it[1].fullmatch(value)]
    return [possible[0][0] if possible and some else "TEXT" for possible, some in zip(could_be, seen)]


def create(connection, table, names, types):
    columns = ", ".join(f"{quoted(name)} {kind}" for name, kind in zip(names, types))
    try:
        connection.execute(f"create table {quoted(table)} ({columns})")
    except sqlite3.OperationalError as error:
        if "already exists" in str(error) or "already another" in str(error):
            raise Problem(f"there is a table {table} already; choose another name, or pass mode: append") from None
        raise


def have_columns(connection, table, names):
    there = {it[0].lower() for it in connection.execute("select name from pragma_table_info(?)", [table])}
    if not there:
        raise Problem(f"there is no table {table}; pass mode: create to make it")
    missing = [it for it in names if it.lower() not in there]
    if missing:
        raise Problem(f"table {table} has no column {', '.join(missing[:10])}; rename it in the CSV file's first line")


run(main)
