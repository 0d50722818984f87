"""SQLite files, opened so that a query can read and nothing else."""

import base64
import contextlib
import os
import sqlite3
import time
import urllib.parse

from common import Problem, existing_file

READS = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE}
# Of one value, as text or blob.
MAX_VALUE_BYTES = 16 * 1024 * 1024
# Numbers beyond are not exact in JSON as most programs read it.
MAX_EXACT = 2**53 - 1
MAX_TEXT = 10_000


def read_only(path, seconds):
    """A connection that only reads the tables of this file: mode, authorizer and the database's own settings each say so."""
    existing_file(path)
    connection = connect(path, "ro")
    connection.set_authorizer(may_read)
    limit_time(connection, seconds)
    return connection


def connect(path, mode):
    uri = f"file:{urllib.parse.quote(os.path.abspath(path))}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=10)
    # A schema may be hostile too: its views and triggers get no functions with side effects.
    connection.setconfig(sqlite3.SQLITE_DBCONFIG_DEFENSIVE, True)
    connection.setconfig(sqlite3.SQLITE_DBCONFIG_TRUSTED_SCHEMA, False)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_VALUE_BYTES)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.text_factory = lambda data: data.decode("utf-8", "replace")
    return connection


def may_read(action, _first, second, _database, _source):
    if action in READS:
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_FUNCTION and second != "load_extension":
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


def limit_time(connection, seconds):
    end = time.monotonic() + seconds
    connection.set_progress_handler(lambda: time.monotonic() > end, 10_000)


@contextlib.contextmanager
def explained():
    """SQLite's errors in words that say what to do."""
    try:
        yield
    except sqlite3.Error as error:
        text = str(error)
        if "not authorized" in text or "authorization denied" in text or "prohibited" in text or "readonly" in text:
            raise Problem(f"refused: {text}. This only reads: one SELECT, WITH … SELECT or VALUES, no PRAGMA, no ATTACH") from None
        if text == "interrupted":
            raise Problem("the query took too long and was stopped; narrow it, or limit recursion") from None
        if "one statement" in text:
            raise Problem("there is more than one statement; send one at a time") from None
        if "file is not a database" in text:
            raise Problem("the file is no SQLite database, or it is encrypted") from None
        if "binding" in text:
            raise Problem(f"{text} Give a parameter for each ? of the query") from None
        raise Problem(f"SQLite says: {text}") from None


def select(connection, sql, parameters):
    """The cursor of one query that returns rows."""
    cursor = connection.execute(sql, [as_value(it) for it in parameters])
    if cursor.description is None:
        raise Problem("refused: this only reads, and the statement returns no rows")
    return cursor


def as_value(text):
    """A number where the text is a number's usual spelling: expressions such as count(*) > ? don't convert texts."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            number = kind(text)
            if str(number) == text and abs(number) < 2**63:
                return number
    return text


def as_json(value):
    if isinstance(value, bytes):
        if len(value) > MAX_TEXT:
            return {"base64": base64.b64encode(value[: MAX_TEXT // 4]).decode(), "bytes": len(value)}
        return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, str) and len(value) > MAX_TEXT:
        return {"beginning": value[: MAX_TEXT // 4], "characters": len(value)}
    if isinstance(value, int) and abs(value) > MAX_EXACT or isinstance(value, float) and abs(value) == float("inf"):
        return str(value)
    return value


def quoted(name):
    """A name in SQL, whatever characters it has."""
    if "\0" in name:
        raise Problem("a name can't hold a NUL character")
    return '"' + name.replace('"', '""') + '"'
