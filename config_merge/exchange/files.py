"""Tables in files: bytes to rows of text, and rows to bytes.

Invariant: whatever the bytes are, reading them costs bounded time and memory and ends in rows or in `FileRefused`,
whose text may be shown.
"""

import csv
import datetime
import io
import json
import lzma
import re
import struct
import tempfile
import warnings
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from openpyxl import Workbook, load_workbook

from config_merge.exchange.columns import escaped, unescaped
from core.api_fields import problem_with
from core.canonical import canonical_json

MAX_BYTES = 8 * 1024 * 1024
# An import is one transaction: edits of templates wait for it, and with SQLite every other write, which gives up after
# 20 s. A row costs 1 to 2 ms, so this many take less than five seconds, and ten on a busy machine.
MAX_ROWS = 2_500
TOO_MANY_ROWS = (
    f"There are more than {MAX_ROWS:,} rows; an import is all or nothing, so import large tables in parts."
)
# How far down a spreadsheet is looked at; empty lines do not count as rows.
MAX_LINES = 10_000
MAX_COLUMNS = 100
# What an XLSX file may unpack to: a spreadsheet of MAX_ROWS devices is far less.
MAX_UNPACKED = 96 * 1024 * 1024
MAX_PARTS = 200
LONGEST_XLSX_CELL = 32_767
# Stands for what is stored when it comes back.
TOO_LONG = "(too long for a spreadsheet cell: export CSV or JSON instead)"
_XSTRING = re.compile(r"_x([0-9A-Fa-f]{4})_")
# Control characters, a carriage return, what is no character, and an underscore that would begin an escape.
_UNWRITABLE = re.compile(r"[\x00-\x08\x0b-\x1f\ufffe\uffff]|_(?=x[0-9A-Fa-f]{4}_)")
CONTENT_TYPES = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "json": "application/json",
}
# What openpyxl and the XML and ZIP readers below it raise on bytes that are no spreadsheet.
_NO_SPREADSHEET = (
    ArithmeticError, AssertionError, AttributeError, EOFError, LookupError, OSError, RuntimeError, SyntaxError,
    TypeError, ValueError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error,
)  # fmt: skip


class FileRefused(Exception):
    """The file is no table that can be read; `str()` says why."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row: its number in the file (the header of a spreadsheet is 1) and its cells by column."""

    number: int
    cells: Mapping[str, Any]


def format_of(name: str, content: bytes) -> str:
    """Return "csv", "xlsx" or "json", by the first bytes and then by the file's name."""
    if content[:4] == b"PK\x03\x04" or name.lower().endswith(".xlsx"):
        return "xlsx"
    if name.lower().endswith(".json") or content.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"[", b"{"):
        return "json"
    return "csv"


def read(content: bytes, *, name: str = "") -> list[TableRow]:
    """Return the rows of a file. Raises FileRefused."""
    if len(content) > MAX_BYTES:
        raise FileRefused(f"The file is larger than {MAX_BYTES // 1024 // 1024} MB; import it in parts.")
    if not content.strip():
        raise FileRefused("The file is empty.")
    kind = format_of(name, content)
    if kind == "json":
        return from_json(parsed(content))
    return _table(_xlsx_lines(content) if kind == "xlsx" else _csv_lines(content))


def _text(content: bytes) -> str:
    """Decode; a byte order mark says which encoding it is, without one it is UTF-8."""
    marks = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
    encoding = next((name for mark, name in marks if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise FileRefused("The file is not UTF-8 text; save it as CSV UTF-8.") from error
    if "\x00" in text:
        raise FileRefused("The file contains null characters.")
    return text


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def parsed(content: bytes | str) -> Any:
    """Return the value of a JSON text that can be stored. Raises FileRefused."""
    text = _text(content) if isinstance(content, bytes) else content
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise FileRefused(
            f"Not valid JSON: {error.msg} (line {error.lineno}, column {error.colno})."
        ) from error
    except (ValueError, RecursionError) as error:
        raise FileRefused("Not valid JSON that can be stored.") from error
    check_storable(value)
    return value


def check_storable(value: Any) -> None:
    """Refuse what no database or no answer could hold. Raises FileRefused."""
    problem = problem_with(value)
    if problem:
        nul = problem == "null_character"
        raise FileRefused("Null characters are not allowed." if nul else "The JSON is nested too deeply.")
    try:
        canonical_json(value)
    except (ValueError, TypeError, RecursionError) as error:
        raise FileRefused("Not valid JSON that can be stored.") from error


def from_json(value: Any) -> list[TableRow]:
    """Return the rows of a list of objects, numbered from 1. Raises FileRefused."""
    check_storable(value)
    if not isinstance(value, list):
        raise FileRefused("A list of objects is needed.")
    if len(value) > MAX_ROWS:
        raise FileRefused(TOO_MANY_ROWS)
    rows = []
    for number, entry in enumerate(value, start=1):
        if not isinstance(entry, dict):
            raise FileRefused(f"Row {number} is not an object.")
        if len(entry) > MAX_COLUMNS:
            raise FileRefused(f"Row {number} has more than {MAX_COLUMNS} columns.")
        rows.append(TableRow(number, {str(key).strip(): cell for key, cell in entry.items()}))
    return rows


def _table(lines: Iterable[tuple[int, Sequence[str]]]) -> list[TableRow]:
    """Return the rows below the first line that says anything, which names the columns. Raises FileRefused."""
    header: list[str] = []
    rows: list[TableRow] = []
    for number, cells in lines:
        if not any(cell.strip() for cell in cells):
            continue
        if not header:
            header = [cell.strip().lower() for cell in cells]
            _check_header(header)
            continue
        if len(rows) >= MAX_ROWS:
            raise FileRefused(TOO_MANY_ROWS)
        if any(cell.strip() for cell in cells[len(header) :]):
            raise FileRefused(f"Row {number} has more cells than there are columns.")
        named = zip(header, cells, strict=False)
        rows.append(TableRow(number, {name: unescaped(cell) for name, cell in named if name}))
    return rows


def _check_header(header: Sequence[str]) -> None:
    if len(header) > MAX_COLUMNS:
        raise FileRefused(f"There are more than {MAX_COLUMNS} columns.")
    named = [name for name in header if name]
    repeated = sorted({name for name in named if named.count(name) > 1})
    if repeated:
        raise FileRefused(f"The column {repeated[0][:64]} is there twice.")


def _csv_lines(content: bytes) -> Iterator[tuple[int, list[str]]]:
    text = _text(content)
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max((",", ";", "\t"), key=first.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        yield from enumerate(reader, start=1)
    except csv.Error as error:
        raise FileRefused(f"Not valid CSV near line {reader.line_num}: {error}.") from error


def _check_parts(content: bytes) -> None:
    """Refuse an archive that unpacks to more than a spreadsheet of devices ever would."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = archive.infolist()
        if len(parts) > MAX_PARTS or sum(part.file_size for part in parts) > MAX_UNPACKED:
            raise FileRefused("The spreadsheet unpacks to too much data.")
        for part in parts:
            if part.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or part.flag_bits & 1:
                raise FileRefused("The spreadsheet is encrypted or packed in an unknown way.")
            # Spreadsheets need no document types; expanding their entities could take for ever.
            if re.search(rb"<!(?:DOCTYPE|ENTITY)", archive.read(part)):
                raise FileRefused("The spreadsheet contains a document type.")


def _xlsx_lines(content: bytes) -> Iterator[tuple[int, list[str]]]:
    try:
        _check_parts(content)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            book = load_workbook(io.BytesIO(content), read_only=True, data_only=True, keep_links=False)
            sheet: Any = book.worksheets[0]
            sheet.reset_dimensions()
            # A cell far down must not make a million empty rows.
            rows = sheet.iter_rows(max_row=MAX_LINES, max_col=MAX_COLUMNS + 1, values_only=True)
            lines = [
                (number, [_cell(value) for value in cells]) for number, cells in enumerate(rows, start=1)
            ]
            book.close()
    except _NO_SPREADSHEET as error:
        raise FileRefused("The file is not a spreadsheet that can be read.") from error
    for number, cells in lines:
        while cells and not cells[-1]:
            cells.pop()
        yield number, cells


def _cell(value: Any) -> str:
    """Return a spreadsheet's value as the text a CSV file would have.

    >>> _cell(5.0), _cell(True), _cell(datetime.date(2026, 1, 2)), _cell(None)
    ('5', 'true', '2026-01-02', '')
    """
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case float() if value.is_integer():
            return f"{value:.0f}"
        case datetime.date() | datetime.time():
            return value.isoformat()
        case _:
            return _XSTRING.sub(lambda code: chr(int(code[1], 16)), str(value)).replace("\x00", "")


# --- writing ------------------------------------------------------------------------------------------------


def plain(value: Any) -> str:
    """Return a value as the text of a cell; JSON objects as canonical JSON."""
    if value is None:
        return ""
    return canonical_json(value).decode() if isinstance(value, dict | list) else str(value)


def write(kind: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """Yield a file of the rows, in parts."""
    return {"csv": _write_csv, "json": _write_json, "xlsx": _write_xlsx}[kind](columns, rows)


def _write_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(columns)
    for row in rows:
        writer.writerow([escaped(plain(row[name])) for name in columns])
        if buffer.tell() > 32_768:
            yield buffer.getvalue().encode()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue().encode()


def _write_json(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    before = "[\n"
    for row in rows:
        yield (before + json.dumps({name: row[name] for name in columns}, ensure_ascii=False)).encode()
        before = ",\n"
    yield b"[]\n" if before == "[\n" else b"\n]\n"


def _xlsx_cell(value: Any) -> str:
    """Return a cell's text; what XML cannot hold, or a reader would change, as `_xHHHH_` (ECMA-376, ST_Xstring)."""
    text = _UNWRITABLE.sub(lambda found: f"_x{ord(found[0]):04X}_", escaped(plain(value)))
    return text if len(text) <= LONGEST_XLSX_CELL else TOO_LONG


def _write_xlsx(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    book = Workbook(write_only=True)
    sheet = book.create_sheet("Devices")
    sheet.append(list(columns))
    for row in rows:
        sheet.append([_xlsx_cell(row[name]) for name in columns])
    with tempfile.TemporaryFile() as packed:
        book.save(packed)
        packed.seek(0)
        while part := packed.read(65_536):
            yield part
