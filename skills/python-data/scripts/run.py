"""Runs a Python script in this one's place."""

import argparse
import os
import sys

from common import existing_file, run, strings


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("--script", required=True)
    parser.add_argument("--input")
    parser.add_argument("--arguments", type=strings, default=[])
    args = parser.parse_args()
    given = [existing_file(args.input)] if args.input else []
    # There is no screen: charts go into files. Unbuffered, so that what was printed is there when the time is up.
    os.environ["MPLBACKEND"] = "agg"
    command = [sys.executable, "-u", existing_file(args.script), *given, *args.arguments]
    os.execv(sys.executable, command)


run(main)
