"""Data files as tables of an in-memory DuckDB, which reads them piece by piece."""

import base64
import contextlib
import datetime
import decimal
import os
import tempfile

import duckdb

from common import Problem, existing_file

READERS = {
    ".csv": "read_csv({path}, header = true, sample_size = {sample})",
    ".tsv": "read_csv({path}, header = true, delim = '\t', sample_size = {sample})",
    ".jsonl": "read_json({path}, format = 'newline_delimited', sample_size = {sample}, maximum_depth = 2)",
    ".ndjson": "read_json({path}, format = 'newline_delimited', sample_size = {sample}, maximum_depth = 2)",
    ".json": "read_json({path}, sample_size = {sample}, maximum_depth = 2)",
    ".parquet": "read_parquet({path})",
}
# All lines of a file decide on its columns' types, where reading it twice costs little.
MAX_WHOLE_SAMPLE_BYTES = 64 * 2**20
SAMPLE_ROWS = 200_000
MEMORY = "600MiB"
NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT", "FLOAT", "DOUBLE")
# Numbers beyond are not exact in JSON as most programs read it.
MAX_EXACT = 2**53 - 1


class TableFile:
    def __init__(self, connection, columns):
        self.connection = connection
        # Types by name, in the file's order.
        self.columns = columns

    def rows(self, sql, values=()):
        return self.connection.execute(sql, list(values)).fetchall()

    def named(self, name):
        """The name in SQL of one of its columns."""
        if name not in self.columns:
            some = ", ".join(list(self.columns)[:30])
            raise Problem(f"there is no column {name}; there are: {some}")
        return quoted(name)


@contextlib.contextmanager
def opened(path):
    """The file as the view `data`."""
    ending = ending_of(path)
    existing_file(path)
    sample = -1 if os.path.getsize(path) <= MAX_WHOLE_SAMPLE_BYTES else SAMPLE_ROWS
    with tempfile.TemporaryDirectory() as directory:
        # A path may hold what DuckDB takes for a pattern; this name of it doesn't.
        link = os.path.join(directory, f"data{ending}")
        os.symlink(os.path.abspath(path), link)
        # Extensions are programs from the network.
        settings = {"memory_limit": MEMORY, "temp_directory": directory, "autoinstall_known_extensions": False, "autoload_known_extensions": False}
        try:
            with duckdb.connect(":memory:", config=settings) as connection:
                connection.execute("set enable_progress_bar = false")
                reader = READERS[ending].format(path=literal(link), sample=sample)
                connection.execute(f"create view data as select * from {reader}")
                columns = {it[0]: it[1] for it in connection.execute("describe data").fetchall()}
                yield TableFile(connection, columns)
        except duckdb.Error as error:
            raise Problem(f"{path}: {str(error).replace(link, path)[:500]}") from None


def ending_of(path):
    ending = os.path.splitext(path)[1].lower()
    if ending not in READERS:
        raise Problem(f"{path} has no ending that is known; rename it to end with one of {', '.join(READERS)}")
    return ending


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


def literal(text):
    return "'" + text.replace("'", "''") + "'"


def is_number(kind):
    return kind in NUMBERS or kind.startswith("DECIMAL")


def as_json(value):
    """What JSON can hold, with nothing lost: the rest as text."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return value
    if isinstance(value, int):
        return value if abs(value) <= MAX_EXACT else str(value)
    if isinstance(value, float):
        return value if abs(value) < float("inf") else str(value)
    if isinstance(value, decimal.Decimal):
        return float(value) if decimal.Decimal(repr(float(value))) == value else str(value)
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray)):
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, dict):
        return {str(key): as_json(it) for key, it in value.items()}
    return [as_json(it) for it in value] if isinstance(value, (list, tuple)) else str(value)
