"""Prints tables and views, their columns, keys, indexes and numbers of rows as JSON."""

import argparse
import contextlib
import json
import sqlite3

from common import MAX_RESULT_CHARACTERS, Problem, existing_file, run
from database import connect, explained, limit_time, quoted

SECONDS = 90
MAX_TABLES = 500
LIST = """select name, type from sqlite_schema where type in ('table', 'view') and name not like 'sqlite\\_%' escape '\\'
  and (? is null or name = ? collate nocase) order by name limit ?"""


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--database", required=True)
    parser.add_argument("--table")
    parser.add_argument("--counts", action="store_true")
    args = parser.parse_args()
    # No authorizer: the statements are this file's own, pragmas among them, and mode=ro keeps them from writing.
    with explained(), contextlib.closing(connect(existing_file(args.database), "ro")) as connection:
        limit_time(connection, SECONDS)
        found = connection.execute(LIST, [args.table, args.table, MAX_TABLES + 1]).fetchall()
        if args.table is not None and not found:
            raise Problem(f"there is no table or view {args.table}; leave out `table` to see all")
        tables = [describe(connection, name, kind, args.counts) for name, kind in found[:MAX_TABLES]]
    text = json.dumps({"tables": tables, "truncated": len(found) > MAX_TABLES})
    if len(text) > MAX_RESULT_CHARACTERS:
        names = [name for name, _ in found[:MAX_TABLES]]
        text = json.dumps({"tables": [{"name": it[:100]} for it in names], "truncated": True, "note": "ask again with `table`"})
    if len(text) > 2 * MAX_RESULT_CHARACTERS:
        raise Problem("the schema is too large to show; ask again with `table`")
    print(text)


def describe(connection, name, kind, counts):
    try:
        columns = [column(it) for it in connection.execute("select * from pragma_table_xinfo(?)", [name])]
        indexes = [
            {"name": index, "unique": bool(unique), "columns": index_columns(connection, index)}
            for _, index, unique, *_ in connection.execute("select * from pragma_index_list(?)", [name]).fetchall()
        ]
        keys = [
            {"column": it[3], "references": {"table": it[2], "column": it[4]}}
            for it in connection.execute("select * from pragma_foreign_key_list(?)", [name])
        ]
    except sqlite3.Error as error:
        # A view of a table that is gone: the others can still be shown.
        return {"name": name, "type": kind, "error": str(error)}
    table = {"name": name, "type": kind, "columns": columns, "indexes": indexes, "foreignKeys": keys}
    return table | {"rows": count(connection, name)} if counts and kind == "table" else table


def column(row):
    _, name, kind, not_null, default, key, *_ = row
    return {"name": name, "type": kind, "notNull": bool(not_null), "default": default, "primaryKey": key > 0}


def index_columns(connection, index):
    return [name for _, _, name in connection.execute("select * from pragma_index_info(?)", [index])]


def count(connection, name):
    """None when it can't be said in time."""
    try:
        return connection.execute(f"select count(*) from {quoted(name)}").fetchone()[0]
    except sqlite3.Error:
        return None


run(main)
