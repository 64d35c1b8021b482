"""SQL over the views, in a DuckDB that can do nothing else: no files, no network, no extensions,
no changes. SQL may have been pasted from anywhere."""

from __future__ import annotations

import os
import re
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from lem.errors import LemError, missing_extra
from lem.query import arrow
from lem.query.material import Material
from lem.query.rows import rows
from lem.query.views import VIEWS, listing

_NOTHING = "Nothing was shown or written."
_READING = ("SELECT", "EXPLAIN", "MULTI")  # MULTI: what PIVOT becomes
_MEMORY = 0.5  # of the machine's; there is nowhere to spill to
_FETCH = 2048

_LOCKS = (
    "SET allow_persistent_secrets = false",
    "SET autoinstall_known_extensions = false",
    "SET autoload_known_extensions = false",
    "SET allow_community_extensions = false",
    "SET python_enable_replacements = false",
    "SET temp_directory = ''",
    "SET enable_external_access = false",
    "SET lock_configuration = true",
)


class Result(NamedTuple):
    """The answer to a query."""

    columns: list[str]
    """Their names, of which no two are the same."""
    rows: Iterator[tuple[Any, ...]]
    """Python values. They can be read once; a value that cannot be worked out is a LemError."""


class Batches(NamedTuple):
    """The answer to a query, for Arrow."""

    schema: Any
    batches: Iterator[Any]
    """Record batches. They can be read once."""


def ask(sql: str, material: Material) -> Result:
    """Answer one SQL statement.

    Only views that the SQL speaks of are worked out.

    Args:
        sql: a SELECT (also FROM ..., WITH ..., PIVOT, DESCRIBE, SUMMARIZE), or an EXPLAIN.

    Raises:
        LemError: DuckDB is not installed; the inputs cannot be read; the SQL is wrong, or wants to
            do anything but read the views.
    """
    with _told(sql):
        connection = _connection(sql, material)
        connection.execute(sql)
        names = _unique([str(column[0]) for column in connection.description])
    return Result(names, _fetched(connection, sql))


def ask_arrow(sql: str, material: Material) -> Batches:
    """Answer one SQL statement in Arrow's types; see `ask`."""
    with _told(sql):
        connection = _connection(sql, material)
        relation = connection.sql(sql)
        read = getattr(relation, "to_arrow_reader", None) or relation.fetch_arrow_reader  # DuckDB 1
        reader = read(arrow.BATCH)
    names = _unique(reader.schema.names)
    fields = [field.with_name(name) for field, name in zip(reader.schema, names, strict=True)]
    return Batches(arrow.pyarrow().schema(fields), _read(reader, sql, fields))


def _fetched(connection: Any, sql: str) -> Iterator[tuple[Any, ...]]:
    while True:
        with _told(sql):
            found = connection.fetchmany(_FETCH)
        if not found:
            return
        yield from found


def _read(reader: Any, sql: str, fields: list[Any]) -> Iterator[Any]:
    pyarrow = arrow.pyarrow()
    shape = pyarrow.schema(fields)
    while True:
        with _told(sql):
            batch = next(reader, None)
        if batch is None:
            return
        yield pyarrow.RecordBatch.from_arrays(batch.columns, schema=shape)


def _connection(sql: str, material: Material) -> Any:
    """A database with the views that the SQL speaks of, closed to everything else."""
    connection = _duckdb().connect(":memory:")
    _check(connection, sql)
    for name in views_in(sql):
        connection.register(name, arrow.table(VIEWS[name], rows(name, material)))
    for setting in (*_limits(), *_LOCKS):
        connection.execute(setting)
    return connection


@contextmanager
def _told(sql: str) -> Iterator[None]:
    """Errors of DuckDB, told as errors of this package; Ctrl-C stays Ctrl-C."""
    duckdb = _duckdb()
    try:
        yield
    except duckdb.InterruptException:
        raise KeyboardInterrupt from None
    except duckdb.OutOfMemoryException as e:
        raise LemError(
            f"The query needs more memory than it may have: {str(e).splitlines()[0]}",
            _NOTHING,
            "Ask for less: add up with GROUP BY, name fewer columns or inputs, or add a LIMIT.",
        ) from None
    except duckdb.Error as e:
        raise _refused(str(e), sql) from None
    except RuntimeError as e:
        if str(e) == "Query interrupted":  # how DuckDB passes Ctrl-C on
            raise KeyboardInterrupt from None
        raise


def views_in(sql: str) -> list[str]:
    """The views whose names are in the SQL. A name that means something else there costs time and
    changes nothing."""
    words = {word.lower() for word in re.findall(r"\w+", sql)}
    if words & {"show", "information_schema", "duckdb_tables", "duckdb_views", "duckdb_columns"}:
        return list(VIEWS)
    return [name for name in VIEWS if name in words]


def _check(connection: Any, sql: str) -> None:
    kinds = [statement.type.name for statement in connection.extract_statements(sql)]
    if not re.search(r"\bcreate\b", sql, re.IGNORECASE):
        kinds = [kind for kind in kinds if kind != "CREATE"]  # what DuckDB 1 makes of a PIVOT
    if len(kinds) != 1:
        raise LemError(
            f"The SQL has {len(kinds) or 'no'} statements; it must be one.",
            _NOTHING,
            'For example: lem query "SELECT model, avg(score) FROM scores GROUP BY ALL" runs/*',
        )
    kind = kinds[0]
    if kind not in _READING:
        raise LemError(
            f"The SQL is a statement of the kind {kind}; only reading is possible here.",
            "Nothing was changed: a query has no files, no network, no extensions and no tables of "
            "its own.",
            "Ask with SELECT; --output FILE.parquet keeps a result, lem export parquet all views.",
        )


def _limits() -> list[str]:
    limits = [f"SET threads = {os.cpu_count() or 1}"]
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not on this system
        return limits
    return [*limits, f"SET memory_limit = '{int(memory * _MEMORY / 2**20)}MiB'"]


def _refused(message: str, sql: str) -> LemError:
    """DuckDB's error, with what could have been asked for."""
    if "disabled by configuration" in message or "disabled through configuration" in message:
        return LemError(
            f"The SQL wants something that is closed here: {message.splitlines()[0]}",
            "A query reads the views and nothing else: no files, no network, no extensions.",
            "Name the files as inputs after the SQL; --output FILE keeps a result.",
        )
    meant = tuple(views_in(sql)) or tuple(VIEWS)
    known = "\n".join(
        textwrap.fill(line, 88, initial_indent="    ", subsequent_indent="      ")
        for line in listing(meant, docs=False).splitlines()
    )
    others = [name for name in VIEWS if name not in meant]
    more = f"\n    other views: {', '.join(others)}" if others else ""
    return LemError(
        f"The SQL cannot be answered: {message.strip()}",
        _NOTHING,
        f"Views and columns (lem query --schema explains them):\n{known}{more}",
    )


def _unique(names: list[str]) -> list[str]:
    """Names of columns, of which no two are the same."""
    made: list[str] = []
    for name in names:
        own, number = name, 1
        while own in made:
            number += 1
            own = f"{name}_{number}"
        made.append(own)
    return made


def _duckdb() -> Any:
    try:
        import duckdb
    except ImportError:
        raise missing_extra("duckdb (which answers SQL)", "query") from None
    return duckdb
