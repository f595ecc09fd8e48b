r"""Readers: the records of a file, one by one, each sound or with the reason why not.

JSON Lines and CSV are read as bytes and split at `\n` alone, so that a U+2028 or a form feed inside a text cannot
move the count of lines. A byte order mark at the start and `\r\n` are sound. Everything else is strict.
"""

import codecs
import csv
import gzip
import json
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from components.lib.data.reasons import Refused
from components.lib.recipe.paths import FORMATS

LONGEST_LINE = 2**25  # bytes
_SHOWN = 2000  # characters of a line that is too long
_CHUNK = 2**20
_SPACE = " \t\r\n"

csv.field_size_limit(LONGEST_LINE)


@dataclass(frozen=True, slots=True)
class Record:
    """One record: `index` from 0; `row` is its fields, or what was there if it is `refused`."""

    index: int
    row: Any
    refused: Refused | None


def read_records(path: Path, name: str) -> Iterator[Record]:
    """The records of `path`, plain or gzipped, in the format that the file name `name` says.

    `ValueError` for a format that is not known, and for a file that is damaged as a whole.
    """
    kind = format_of(name)
    if kind == ".parquet":
        yield from _parquet(path, name)
        return
    try:
        with _open(path) as file:
            yield from {".json": _json, ".csv": _csv}.get(kind, _json_lines)(file)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(f"{name} is damaged ({error}); fetch it again") from None


def format_of(name: str) -> str:
    """The format that a file name says, without `.gz`; `ValueError` lists the valid ones."""
    suffix = Path(name.removesuffix(".gz")).suffix.lower()
    if suffix not in FORMATS:
        raise ValueError(f"{name!r} is none of {', '.join(FORMATS)}, plain or with .gz; rename or convert it")
    return suffix


def decode_json(text: str) -> dict[str, Any]:
    """A JSON object, strictly: no NaN, no key twice, no half characters. Raises `Refused`."""
    try:
        row = json.loads(text, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_unique)
    except RecursionError:
        raise Refused("not-json", why="nested too deeply") from None
    except ValueError as error:
        raise Refused("not-json", why=str(error)) from None
    if not isinstance(row, dict):
        raise Refused("not-an-object", type=type(row).__name__)
    if "\\u" in text:
        _check_surrogates(row)
    return row


def _open(path: Path) -> IO[bytes]:
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return cast(IO[bytes], gzip.open(path)) if zipped else path.open("rb")


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    r"""Physical lines with their `\n`; of one beyond LONGEST_LINE only the beginning, without."""
    while line := file.readline(LONGEST_LINE):
        if len(line) == LONGEST_LINE and not line.endswith(b"\n"):
            while (rest := file.readline(LONGEST_LINE)) and not rest.endswith(b"\n"):
                pass
        yield line


def _json_lines(file: IO[bytes]) -> Iterator[Record]:
    for index, line in enumerate(_lines(file)):
        if index == 0:
            line = line.removeprefix(codecs.BOM_UTF8)
        line = line.removesuffix(b"\n").removesuffix(b"\r")
        try:
            yield Record(index, _decode_line(line), None)
        except Refused as refused:
            text = line.decode("utf-8", "backslashreplace")
            yield Record(index, text[:_SHOWN] if refused.reason == "line-too-long" else text, refused)


def _decode_line(line: bytes) -> dict[str, Any]:
    if len(line) >= LONGEST_LINE:
        raise Refused("line-too-long", limit=LONGEST_LINE)
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Refused("not-utf8", byte=error.start) from None
    if not text.strip():
        raise Refused("empty-line")
    return decode_json(text)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is too large for a number")
    return number


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        raise Refused("duplicate-key", key=next(name for name in names if names.count(name) > 1))
    return row


def _check_surrogates(row: Any) -> None:
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise Refused("lone-surrogate") from None


def _json(file: IO[bytes]) -> Iterator[Record]:
    """The elements of one JSON array, read piece by piece; a file that is no array is read as JSON Lines.

    `ValueError` if the file is one object with a list of rows inside, or objects over several lines each.
    """
    start = file.read(_CHUNK)
    text = start.removeprefix(codecs.BOM_UTF8).lstrip(_SPACE.encode())
    file.seek(0)
    if text.startswith(b"["):
        yield from _array(file)
        return
    if not _more_than_one(file) and (key := _list_inside(file)):
        raise ValueError(
            f"the file is one JSON object, and its rows are the list under {key!r}; make that list the whole file, as "
            f"`jq '.[{json.dumps(key)}]' FILE > rows.json` does"
        )
    if text.partition(b"\n")[0].strip() == b"{":
        raise ValueError(
            "its objects are written over several lines; make the file a list of them, or write each on one line, as "
            "`jq -c . FILE > rows.jsonl` does"
        )
    file.seek(0)
    yield from _json_lines(file)


def _more_than_one(file: IO[bytes]) -> bool:
    """Whether the first line of a file is JSON by itself, and more follow."""
    found = (line for line in _lines(file) if line.strip())
    try:
        json.loads(next(found, b"").removeprefix(codecs.BOM_UTF8))
        return next(found, b"") != b""
    except (ValueError, RecursionError):
        return False
    finally:
        file.seek(0)


def _list_inside(file: IO[bytes]) -> str:
    """The name of the first list of rows in a file that is one object, "" if there is none.

    Rows are objects, but no turns of a conversation: an object with those is a row itself.
    """
    window = _Window(file)
    try:
        window.expect("{")
        while True:
            key = json.loads(window.element(0))
            window.expect(":")
            if window.peek() != "[":
                window.element(0)
            elif row := next((one for one in _elements(window) if isinstance(one, dict)), None):
                return "" if {"role", "from"} & set(row) else key
            window.expect(",")
    except (ValueError, RecursionError):
        return ""


def _elements(window: "_Window") -> Iterator[Any]:
    """The elements of the list that begins here, up to its end."""
    window.expect("[")
    while window.peek() != "]":
        yield json.loads(window.element(0))
        if window.peek() == ",":
            window.expect(",")
    window.expect("]")


def _array(file: IO[bytes]) -> Iterator[Record]:
    window = _Window(file)
    window.expect("[")
    index = 0
    if window.peek() == "]":
        return
    while True:
        text = window.element(index)
        try:
            if any("\udc80" <= character <= "\udcff" for character in text):
                raise Refused("not-utf8")
            yield Record(index, decode_json(text), None)
        except Refused as refused:
            yield Record(index, text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"), refused)
        index += 1
        if window.peek() == "]":
            return
        window.expect(",", after=index - 1)


class _Window:
    """The part of a JSON text that is in memory; wrong UTF-8 is kept as surrogates, to be refused per element."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file, self.text, self.at, self.over = file, "", 0, False
        self.decoder = codecs.getincrementaldecoder("utf-8-sig")("surrogateescape")
        # the scanner is lenient where decode_json, which sees the element alone, is strict
        self.scanner = json.JSONDecoder(strict=False)

    def more(self) -> bool:
        """Read on; False at the end of the file."""
        if self.over:
            return False
        data = self.file.read(_CHUNK)
        self.over = not data
        self.text, self.at = self.text[self.at :] + self.decoder.decode(data, self.over), 0
        return True

    def peek(self) -> str:
        """The next character that is not a space, "" at the end."""
        while True:
            while self.at < len(self.text) and self.text[self.at] in _SPACE:
                self.at += 1
            if self.at < len(self.text) or not self.more():
                return self.text[self.at : self.at + 1]

    def expect(self, sign: str, after: int = -1) -> None:
        """Step over `sign`."""
        if self.peek() != sign:
            raise ValueError(f"the JSON array breaks off after record {after}: {sign!r} is missing; correct the file")
        self.at += 1

    def element(self, index: int) -> str:
        """The text of the next element."""
        self.peek()
        while True:
            try:
                _, end = self.scanner.raw_decode(self.text, self.at)
                if end < len(self.text) or self.over:
                    text, self.at = self.text[self.at : end], end
                    return text
            except (json.JSONDecodeError, RecursionError) as error:
                if self.over or len(self.text) - self.at > LONGEST_LINE:
                    raise ValueError(f"record {index} of the JSON array is not JSON ({error}); correct it") from None
            self.more()


def _csv(file: IO[bytes]) -> Iterator[Record]:
    """Records of a CSV file with a header, RFC 4180; a record may span lines inside quotes."""
    taken: list[str] = []

    def texts() -> Iterator[str]:
        for number, line in enumerate(_lines(file)):
            text = (line.removeprefix(codecs.BOM_UTF8) if number == 0 else line).decode("utf-8", "surrogateescape")
            taken.append(text)
            yield text

    reader = csv.reader(texts(), strict=True)
    header = next(reader, [])
    if len(set(header)) < len(header):
        raise ValueError(f"its header names a column twice: {', '.join(header)}; rename one")
    index = -1
    while True:
        taken.clear()
        index += 1
        try:
            values = next(reader, None)
            if values is None:
                return
            yield Record(index, _csv_row(header, values, "".join(taken)), None)
        except csv.Error as error:
            yield Record(index, _shown(taken), Refused("not-csv", why=str(error)))
        except Refused as refused:
            yield Record(index, _shown(taken), refused)


def _csv_row(header: list[str], values: list[str], text: str) -> dict[str, Any]:
    if any("\udc80" <= character <= "\udcff" for character in text):
        raise Refused("not-utf8")
    if not text.strip():
        raise Refused("empty-line")
    if len(values) != len(header):
        raise Refused("wrong-columns", columns=len(values), header=len(header))
    return dict(zip(header, values, strict=True))


def _shown(taken: list[str]) -> str:
    text = "".join(taken).removesuffix("\n").removesuffix("\r")
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _parquet(path: Path, name: str) -> Iterator[Record]:
    import tempfile

    import pyarrow
    from pyarrow import parquet

    with tempfile.TemporaryDirectory() as folder:
        if name.endswith(".gz"):
            path = _unzipped(path, Path(folder))
        try:
            with parquet.ParquetFile(path, pre_buffer=False) as file:
                index = 0
                for batch in file.iter_batches(batch_size=512):
                    for number in range(batch.num_rows):
                        yield _parquet_record(index, batch.slice(number, 1))
                        index += 1
        except pyarrow.ArrowInvalid as error:
            raise ValueError(f"{name} is not a sound Parquet file ({error}); fetch it again") from None


def _parquet_record(index: int, batch: Any) -> Record:
    try:
        return Record(index, batch.to_pylist()[0], None)
    except UnicodeDecodeError as error:
        return Record(index, str(error.object), Refused("not-utf8", byte=error.start))


def _unzipped(path: Path, folder: Path) -> Path:
    import shutil

    plain = folder / "plain.parquet"
    with _open(path) as source, plain.open("wb") as target:
        shutil.copyfileobj(source, target, _CHUNK)
    return plain
