"""Says what a data file holds, as JSON."""

import argparse
import json

from common import MAX_RESULT_CHARACTERS, Problem, run, strings
from table import as_json, is_number, opened, quoted

MAX_COLUMNS = 200
MAX_SHOWN = 200
QUANTILES = {"q25": 0.25, "median": 0.5, "q75": 0.75}


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--path", required=True)
    parser.add_argument("--columns", type=strings)
    parser.add_argument("--top", type=int, required=True)
    args = parser.parse_args()
    with opened(args.path) as table:
        names = args.columns or list(table.columns)[:MAX_COLUMNS]
        selected = ", ".join(table.named(it) for it in dict.fromkeys(names))
        # Each column is looked at more than once; the file is read once.
        table.connection.execute(f"create temp table loaded as select {selected} from data")
        [[count]] = table.rows("select count(*) from loaded")
        columns = [column(table, it, args.top) for it in dict.fromkeys(names)]
    result = {"path": args.path, "rows": count, "columns": columns}
    if len(columns) < len(table.columns):
        result["otherColumns"] = [it for it in table.columns if it not in names][:MAX_COLUMNS]
    for shorter in (None, "top", "max", "min"):
        for it in columns:
            it.pop(shorter, None)
        if len(text := json.dumps(result)) <= MAX_RESULT_CHARACTERS:
            print(text)
            return
    raise Problem(f"there is too much to say of {len(columns)} columns; name fewer with columns")


def column(table, name, top):
    kind, at = table.columns[name], quoted(name)
    [[there, distinct]] = table.rows(f"select count({at}), approx_count_distinct({at}) from loaded")
    [[total]] = table.rows("select count(*) from loaded")
    said = {"name": name, "type": kind, "missing": total - there, "distinct": min(distinct, there), "distinctIsEstimate": distinct > 100}
    if not there:
        return said
    # Nested values have no order that says anything.
    if not kind.endswith("]") and not kind.startswith(("STRUCT", "MAP", "UNION", "JSON", "BLOB")):
        [[least, most]] = table.rows(f"select min({at}), max({at}) from loaded")
        said |= {"min": shown(least), "max": shown(most)}
    if is_number(kind):
        finite = f"from loaded where isfinite({at}::double)"
        [[mean, deviation, *quantiles]] = table.rows(
            f"select avg({at}::double), stddev_samp({at}::double), {', '.join(f'quantile_cont({at}::double, {it})' for it in QUANTILES.values())} {finite}"
        )
        said |= {"mean": as_json(mean), "std": as_json(deviation)} | dict(zip(QUANTILES, map(as_json, quantiles)))
    if top:
        frequent = table.rows(f"select {at}, count(*) from loaded where {at} is not null group by 1 order by 2 desc, 1 limit {int(top)}")
        said["top"] = [{"value": shown(value), "count": count} for value, count in frequent]
    return said


def shown(value):
    value = as_json(value)
    if isinstance(value, str) and len(value) > MAX_SHOWN:
        return value[:MAX_SHOWN] + "…"
    return value if len(json.dumps(value)) <= 2 * MAX_SHOWN + 2 else json.dumps(value)[:MAX_SHOWN] + "…"


run(main)
