"""Draws a chart of columns of a data file, as a PNG."""

import argparse

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt  # noqa: E402: after the choice of what draws

from common import Problem, run, strings, whole_file  # noqa: E402
from table import is_number, opened  # noqa: E402

MAX_BARS = 200
MAX_LABEL = 40


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--path", required=True)
    parser.add_argument("--kind", choices=["line", "bar", "scatter", "histogram"], required=True)
    parser.add_argument("--x")
    parser.add_argument("--y", type=strings, required=True)
    parser.add_argument("--title")
    parser.add_argument("--bins", type=int, required=True)
    parser.add_argument("--top", type=int, required=True)
    parser.add_argument("--log", action="store_true")
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    if not args.out.lower().endswith(".png"):
        raise Problem('out must end with ".png"')
    x, ys = read(args)
    # A `$` in a name is a dollar.
    matplotlib.rcParams["text.parse_math"] = False
    figure, axes = plt.subplots(figsize=(10, 6), dpi=100, layout="constrained")
    draw(axes, args, x, ys)
    if args.title:
        axes.set_title(args.title)
    if len(ys) > 1:
        axes.legend()
    with whole_file(args.out, overwrite=True) as name:
        figure.savefig(name, format="png")
    print(f"wrote {args.out}")


def read(args):
    """The values along the bottom, and those to draw by name."""
    with opened(args.path) as table:
        names = list(dict.fromkeys(args.y))
        if not names:
            raise Problem("y names no column")
        if args.kind == "histogram" and args.x:
            raise Problem("a histogram has no x")
        columns = [f"{table.named(it)}::double" for it in names]
        for name in names:
            if not is_number(table.columns[name]):
                raise Problem(f"the values of column {name} are {table.columns[name]}, no numbers")
        x = table.named(args.x) if args.x else "null"
        rows = table.rows(f"select {x}, {', '.join(columns)} from data limit {int(args.top)}")
    if not rows:
        raise Problem(f"{args.path} has no rows")
    ys = {name: [float("nan") if row[at] is None else row[at] for row in rows] for at, name in enumerate(names, 1)}
    if not args.x:
        return list(range(1, len(rows) + 1)), ys
    values = [row[0] for row in rows]
    if args.kind == "bar" or any(it is None or isinstance(it, str) for it in values):
        return [label(it) for it in values], ys
    return values, ys


def label(value):
    text = "" if value is None else str(value)
    return text if len(text) <= MAX_LABEL else text[: MAX_LABEL - 1] + "…"


def draw(axes, args, x, ys):
    if args.kind == "histogram":
        kept = {name: [it for it in values if abs(it) < float("inf")] for name, values in ys.items()}
        axes.hist(list(kept.values()), bins=args.bins, label=list(kept), log=args.log)
        axes.set_xlabel(next(iter(ys)) if len(ys) == 1 else "value")
        axes.set_ylabel("count")
        return
    if args.kind == "bar":
        bars(axes, x, ys)
    else:
        for name, values in ys.items():
            axes.plot(x, values, label=name, linestyle="-" if args.kind == "line" else "none", marker="." if args.kind == "scatter" else None)
    axes.set_xlabel(args.x or "row")
    axes.set_ylabel(next(iter(ys)) if len(ys) == 1 else "value")
    if args.log:
        axes.set_yscale("log")
    axes.tick_params(axis="x", rotation=45 if x and isinstance(x[0], str) else 0)


def bars(axes, x, ys):
    """Side by side where there are several columns."""
    if len(x) > MAX_BARS:
        raise Problem(f"{len(x)} bars can't be told apart; aggregate with queryData first, lower top, or draw a line")
    width = 0.8 / len(ys)
    for at, (name, values) in enumerate(ys.items()):
        axes.bar([place + (at - (len(ys) - 1) / 2) * width for place in range(len(x))], values, width, label=name)
    axes.set_xticks(range(len(x)), [str(it) for it in x])


run(main)
