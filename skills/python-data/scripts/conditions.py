"""Conditions, aggregates and orders as people write them, made into SQL that holds names of columns and places for values only."""

import json
import re

from common import Problem
from table import is_number, quoted

COMPARISONS = {"=": "=", "==": "=", "!=": "is distinct from", "<>": "is distinct from", ">=": ">=", "<=": "<=", ">": ">", "<": "<"}
FUNCTIONS = {"contains": "contains", "startswith": "starts_with", "endswith": "ends_with"}
AGGREGATES = {
    "sum": "sum({})",
    "mean": "avg({})",
    "avg": "avg({})",
    "median": "median({})",
    "min": "min({})",
    "max": "max({})",
    "std": "stddev_samp({})",
    "count": "count({})",
    "distinct": "count(distinct {})",
}
OPERATOR = re.compile(r"\s*(==|!=|<>|>=|<=|=|>|<)\s*(.*)|\s+(contains|startsWith|endsWith|in)\s+(.*)|\s+is\s+(not\s+)?(null)\s*", re.I | re.S)
AGGREGATE = re.compile(r"\s*(\w+)\s*(?:\((.*)\))?\s*", re.S)
WHOLE = re.compile(r"[+-]?[0-9]{1,38}", re.ASCII)
# A type that was made of names in the file, such as an ENUM's, is not put into SQL.
PLAIN_TYPE = re.compile(r"[A-Z][A-Z0-9_ ]*(\([0-9]+(, ?[0-9]+)?\))?")


def condition(table, text):
    """SQL and the values for its places."""
    name, rest = leading_column(table, text)
    found = OPERATOR.fullmatch(rest)
    if found is None:
        raise Problem(f'"{text}": write `column operator value`, the operator one of = != > >= < <= contains startsWith endsWith in, or is null')
    at, kind = quoted(name), table.columns[name]
    comparison, value, word, operand, negated, null = found.groups()
    if null:
        return f"{at} is {'not ' if negated else ''}null", []
    if comparison:
        expression, bound = typed(table, name, kind, unquoted(value))
        return f"{at} {COMPARISONS[comparison]} {expression}", [bound]
    if word.lower() == "in":
        parts = [typed(table, name, kind, it) for it in listed(text, operand)]
        return f"{at} in ({', '.join(it[0] for it in parts)})", [it[1] for it in parts]
    return f"{FUNCTIONS[word.lower()]}({at}::varchar, ?)", [unquoted(operand)]


def leading_column(table, text):
    """The longest name of a column that the condition begins with, and what follows."""
    text = text.strip()
    for name in sorted(table.columns, key=len, reverse=True):
        for spelled in (name, quoted(name)):
            rest = text[len(spelled) :]
            if text.startswith(spelled) and (not rest or not (rest[0].isalnum() or rest[0] == "_")):
                return name, rest
    raise Problem(f'"{text}" begins with no name of a column; there are: {", ".join(list(table.columns)[:30])}')


def typed(table, name, kind, text):
    """A place for a value of the column's type, so that 10 is more than 9."""
    if is_number(kind):
        kind = "HUGEINT" if WHOLE.fullmatch(text) and not kind.startswith(("FLOAT", "DOUBLE")) else "DOUBLE"
    elif not PLAIN_TYPE.fullmatch(kind):
        kind = "VARCHAR"
    [[value]] = table.rows(f"select try_cast(? as {kind})", [text])
    if value is None:
        raise Problem(f'"{text}" is no {table.columns[name]}, which the values of column {name} are')
    return f"cast(? as {kind})", text


def unquoted(text):
    text = text.strip()
    if len(text) >= 2 and text[0] == text[-1] == '"':
        try:
            return str(json.loads(text))
        except ValueError:
            return text[1:-1]
    return text[1:-1].replace("''", "'") if len(text) >= 2 and text[0] == text[-1] == "'" else text


def listed(text, operand):
    try:
        values = json.loads(operand)
    except ValueError:
        values = None
    if not isinstance(values, list) or not 0 < len(values) <= 1000 or not all(isinstance(it, (str, int, float)) for it in values):
        raise Problem(f'"{text}": after `in` comes a JSON list of values: ["a", "b"] or [1, 2]')
    return [it if isinstance(it, str) else json.dumps(it) for it in values]


def aggregate(table, text):
    """SQL and the result's name."""
    call, name = text.strip(), text.strip()
    if found := re.search(r"\s+as\s+(\S.*)$", call, re.I):
        call, name = call[: found.start()], unquoted(found[1])
    found = AGGREGATE.fullmatch(call)
    function, column = (found[1].lower(), found[2]) if found else ("", None)
    if function not in AGGREGATES or (column is None and function != "count"):
        raise Problem(f'"{text}": write count, or one of {", ".join(AGGREGATES)} with a column: sum(amount)')
    if column is None or (function == "count" and column.strip() == "*"):
        return "count(*)", name
    column = column.strip() if column.strip() in table.columns else unquoted(column)
    at = table.named(column)
    if function in ("sum", "mean", "avg", "median", "std") and not is_number(table.columns[column]):
        raise Problem(f'"{text}": the values of column {column} are {table.columns[column]}, no numbers')
    return AGGREGATES[function].format(at), name


def order(names, text):
    """SQL for one column of the result."""
    text = text.strip()
    name, direction = text, "asc"
    if name not in names and (found := re.fullmatch(r"(.*\S)\s+(asc|desc)", text, re.I | re.S)):
        name, direction = found[1], found[2].lower()
    if name not in names:
        raise Problem(f'"{text}": sort by a column of the result: {", ".join(names[:30])}')
    return f"{quoted(name)} {direction} nulls last"
