"""Score completions in a JSONL file by the rules of their answers' kind: what `pipeline.py score FILE.jsonl` does.

Input: one JSON object per line with `completion` (string) and `gold` (string or number), optionally `prefilled` (true
where the prompt ended in `<think>`), `answers` (the kind), `form` and `options` (the texts of a choice), which go
before what the command says; other fields travel along. Output: the same lines in the same order, with
`correct`, `think_ok` and `answer_marked` (booleans) and `answer` (canonical string, or null where nothing parses).
"""

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TextIO

from components.lib.answers.kinds import Judgement, Question, judge
from components.lib.files import replacing


def score_file(path: Path, out: Path | None, answers: str = "number", form: str = "marker") -> int:
    """Score the file `path` into `out`, or to standard output, and print the counts on standard error.

    `answers` and `form` hold for the lines that name none. `out` appears only when every line is scored. Returns the
    exit status 0. Raises ValueError as `score_lines` does, OSError if a file cannot be read or written.
    """
    if out is None:
        counts = _write(path, sys.stdout, answers, form)
    else:
        with replacing(out) as part, part.open("w", encoding="utf-8", newline="\n") as sink:
            counts = _write(path, sink, answers, form)
    lines = counts.pop("lines")
    shares = ", ".join(f"{name} {count} ({count / max(lines, 1):.1%})" for name, count in counts.items())
    print(f"{lines} lines: {shares} -> {out or 'standard output'}", file=sys.stderr)
    return 0


def _write(path: Path, sink: TextIO, answers: str, form: str) -> dict[str, int]:
    """Write the scored lines of `path` to `sink`, and count lines and verdicts."""
    counts = dict.fromkeys(("lines", "correct", "think_ok", "answer_marked", "unparsed"), 0)
    for line, judgement in score_lines(_text_lines(path), str(path), answers, form):
        sink.write(line + "\n")
        counts["lines"] += 1
        for name in ("correct", "think_ok", "answer_marked", "unparsed"):
            counts[name] += getattr(judgement, name)
        if judgement.timed_out:
            counts["timed_out"] = counts.get("timed_out", 0) + 1
    return counts


def _text_lines(path: Path) -> Iterator[str]:
    """Yield the lines of a UTF-8 file, decoded one by one so that an error can name its line."""
    with path.open("rb") as source:
        for number, line in enumerate(source, start=1):
            try:
                yield line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise ValueError(f"{path}:{number}: not UTF-8 ({error}); save the file as UTF-8") from None


def score_lines(
    lines: Iterable[str], source: str, answers: str = "number", form: str = "marker"
) -> Iterator[tuple[str, Judgement]]:
    """Yield each line of JSON with its judgement added, and the judgement; blank lines are dropped.

    Raises ValueError at the first bad line; it names `source`, the line's number from 1, the value and what to do.
    """
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = _record(line)
            judgement = judge(record["completion"], _question(record, answers, form))
        except ValueError as error:
            raise ValueError(f"{source}:{number}: {error}") from None
        record |= {
            "correct": judgement.correct,
            "think_ok": judgement.think_ok,
            "answer_marked": judgement.answer_marked,
            "answer": judgement.text,
        }
        # A line with \u escapes gets escapes again: only they can hold a lone surrogate, which UTF-8 cannot.
        yield json.dumps(record, ensure_ascii="\\u" in line), judgement


def _record(line: str) -> dict[str, Any]:
    """Parse one line and check its fields; ValueError says what is wrong with it."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{_shown(line)} is not JSON ({error}); write one JSON object per line") from None
    if not isinstance(record, dict):
        raise ValueError(f'{_shown(line)} is not a JSON object; write {{"completion": ..., "gold": ...}}')
    for name in ("completion", "gold"):
        if name not in record:
            raise ValueError(f"field {name!r} is missing; found {', '.join(record) or 'none'}; add it")
    if not isinstance(record["completion"], str):
        raise ValueError(f"completion {_shown(repr(record['completion']))} is not a string; give the generated text")
    if not isinstance(record.get("prefilled", False), bool):
        raise ValueError(f"prefilled {_shown(repr(record['prefilled']))} is not true or false; correct or drop it")
    return record


def _question(record: dict[str, Any], answers: str, form: str) -> Question:
    """Return what a line asks to be judged by."""
    options = record.get("options") or []
    if not isinstance(options, list) or not all(isinstance(option, str) for option in options):
        raise ValueError(f"options {_shown(repr(options))} is not a list of strings; correct or drop it")
    asked = {"answers": answers, "form": form} | record | {"gold": _gold(record["gold"]), "options": options}
    return Question.of(asked, prefilled=record.get("prefilled", False))


def _gold(value: Any) -> str:
    """Return the reference answer as text; a JSON number is written out, anything else than a string is refused."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(value)
    raise ValueError(f'gold {_shown(repr(value))} is not a string or a number; write it like "42" or 42')


def _shown(text: str) -> str:
    """Cut a value short for an error message."""
    text = text.strip()
    return text if len(text) <= 80 else text[:77] + "..."
