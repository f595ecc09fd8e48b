"""Cron expressions as Kubeflow Pipelines reads them: six fields, the first one seconds.

The rules are those of its scheduler (robfig/cron v1): `*`, `?`, lists, ranges, steps, names of months and days;
if both day fields are restricted, either may match. A field counts as unrestricted as soon as one part of its list
begins with a star, `*/2` too.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS = (
    ("second", 0, 59),
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day of month", 1, 31),
    ("month", 1, 12),
    ("day of week", 0, 6),
)
_YEARS = 5  # how far ahead a firing is looked for


@dataclass(frozen=True)
class Cron:
    """A parsed expression: the values of each field at which it fires."""

    text: str  # six fields
    values: tuple[frozenset[int], ...]
    free: tuple[bool, bool]  # whether day of month and day of week have the scheduler's star bit

    def after(self, moment: datetime, zone: tzinfo) -> Iterator[datetime]:
        """Every firing after `moment` (aware), by the clock of `zone`, in its order; ends after five years."""
        seconds, minutes, hours, *_ = (sorted(values) for values in self.values)
        local = moment.astimezone(zone)
        for offset in range(_YEARS * 366):
            day = (local + timedelta(days=offset)).date()
            if not self._fires_on(day.month, day.day, day.isoweekday() % 7):
                continue
            for hour in hours:
                for minute in minutes:
                    for second in seconds:
                        found = datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=zone)
                        if found > moment:
                            yield found

    def _fires_on(self, month: int, day: int, weekday: int) -> bool:
        if month not in self.values[4]:
            return False
        by_day, by_weekday = day in self.values[3], weekday in self.values[5]
        return by_day and by_weekday if any(self.free) else by_day or by_weekday


def parse(text: str) -> Cron:
    """Read five fields (seconds become 0) or six; `ValueError` names the bad field and what is valid."""
    fields = text.split()
    if len(fields) == 5:
        fields = ["0", *fields]
    if len(fields) != 6:
        raise ValueError(
            f"cron {text!r} has {len(fields)} fields; write 5 (minute hour day month weekday) or 6 with seconds first"
        )
    values = tuple(_field(part, *spec) for part, spec in zip(fields, _FIELDS, strict=True))
    return Cron(" ".join(fields), values, (_starred(fields[3]), _starred(fields[5])))


def _starred(text: str) -> bool:
    return any(part.partition("/")[0] in ("*", "?") for part in text.split(","))


def _field(text: str, name: str, low: int, high: int) -> frozenset[int]:
    found: set[int] = set()
    for part in text.lower().split(","):
        span, slash, step_text = part.partition("/")
        first, dash, last = span.partition("-")
        if span in ("*", "?"):
            start, end = low, high
        else:
            start = _number(first, name, text)
            end = _number(last, name, text) if dash else (high if slash else start)
        step = _number(step_text, name, text) if slash else 1
        if not low <= start <= end <= high or step < 1:
            raise ValueError(f"cron field {name}: {text!r} is not within {low}-{high}")
        found.update(range(start, end + 1, step))
    return frozenset(found)


def _number(text: str, name: str, whole: str) -> int:
    names = {"month": {n: i for i, n in enumerate(_MONTHS, 1)}, "day of week": {n: i for i, n in enumerate(_DAYS)}}
    if text in names.get(name, {}):
        return names[name][text]
    if not text.isdecimal():
        raise ValueError(f"cron field {name}: {whole!r} is not a number, *, a-b, */n or a list of these")
    return int(text)
