"""Selects, filters, groups, aggregates and sorts the rows of a data file."""

import argparse
import csv
import io
import json
import sys

from common import MAX_RESULT_CHARACTERS, Problem, run, strings
from conditions import aggregate, condition, order
from table import as_json, opened, quoted


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--path", required=True)
    parser.add_argument("--columns", type=strings, default=[])
    for name in ("--where", "--group-by", "--aggregate", "--sort-by"):
        parser.add_argument(name, type=strings, default=[])
    parser.add_argument("--limit", type=int, required=True)
    parser.add_argument("--format", choices=["json", "csv"], required=True)
    args = parser.parse_args()
    with opened(args.path) as table:
        names, sql, values = statement(table, args)
        cursor = table.connection.execute(sql, values)
        give = give_json if args.format == "json" else give_csv
        give(names, cursor, args.limit)


def statement(table, args):
    """The result's names, SQL, and the values for its places."""
    if args.columns and (args.group_by or args.aggregate):
        raise Problem("columns doesn't go with groupBy and aggregate: the result has the groups' columns and the aggregates")
    shown = [(table.named(it), it) for it in args.group_by or ([] if args.aggregate else args.columns or table.columns)]
    shown += [aggregate(table, it) for it in args.aggregate or (["count"] if args.group_by else [])]
    names = [it[1] for it in shown]
    twice = {it for it in names if [other.lower() for other in names].count(it.lower()) > 1}
    if twice:
        raise Problem(f"two columns of the result are called {', '.join(sorted(twice))}; name them with `as`")
    conditions = [condition(table, it) for it in args.where]
    sql = f"select {', '.join(f'{expression} as {quoted(name)}' for expression, name in shown)} from data"
    if conditions:
        sql += f" where {' and '.join(f'({it})' for it, _ in conditions)}"
    if args.group_by:
        sql += f" group by {', '.join(quoted(it) for it in args.group_by)}"
    sql = f"select * from ({sql})"
    if args.sort_by:
        sql += f" order by {', '.join(order(names, it) for it in args.sort_by)}"
    return names, f"{sql} limit {int(args.limit) + 1}", [value for _, values in conditions for value in values]


def give_json(names, cursor, limit):
    rows, left, cut = [], MAX_RESULT_CHARACTERS - len(json.dumps(names)), None
    while row := cursor.fetchone():
        said = [as_json(it) for it in row]
        left -= len(json.dumps(said)) + 2
        if len(rows) == limit or left < 0:
            cut = f"limit is {limit}" if left >= 0 else "the result is too long; choose fewer columns, or aggregate"
            break
        rows.append(said)
    result = {"columns": names, "rows": rows, "rowCount": len(rows), "truncated": cut is not None}
    print(json.dumps(result | ({"truncatedBecause": cut} if cut else {})))


def give_csv(names, cursor, limit):
    text, count = io.StringIO(), 0
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    while row := cursor.fetchone():
        end = text.tell()
        if count < limit:
            writer.writerow(plain(as_json(it)) for it in row)
        if count == limit or text.tell() > MAX_RESULT_CHARACTERS:
            text.truncate(end)
            print(f"there are more rows than the {count} returned", file=sys.stderr)
            break
        count += 1
    print(text.getvalue(), end="")


def plain(value):
    return json.dumps(value) if isinstance(value, (dict, list)) else value


run(main)
