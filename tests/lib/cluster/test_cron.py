"""Cron expressions: which moments they name, and what is refused."""

from datetime import UTC, datetime
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

from components.lib.cluster.cron import parse

START = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)  # a Sunday


def next_of(text, count=1, zone=UTC):
    return [f"{m:%m-%d %H:%M:%S}" for m in islice(parse(text).after(START, zone), count)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0 3 * * 0", "03-08 03:00:00"),
        ("0 0 3 * * 0", "03-08 03:00:00"),
        ("*/20 * * * *", "03-01 12:20:00"),
        ("30 0 12 * * *", "03-01 12:00:30"),
        ("0 9-17/4 * * mon-fri", "03-02 09:00:00"),
        ("0 0 29 feb ?", "02-29 00:00:00"),
        ("0 0 13 * 5", "03-06 00:00:00"),  # either day field may match
        ("0 3 */2 * 1", "03-09 03:00:00"),  # a star with a step is one: an odd day that is a Monday
        ("0 3 2,*/31 * 3", "04-01 03:00:00"),
        ("0 0 31 * *", "03-31 00:00:00"),
        ("5,10 12 * * *", "03-01 12:05:00"),
    ],
)
def test_the_next_firing(text, expected):
    assert next_of(text) == [expected]


def test_firings_are_in_order_and_strictly_later():
    assert next_of("0 0,12 * * *", 3) == ["03-02 00:00:00", "03-02 12:00:00", "03-03 00:00:00"]


def test_the_zone_is_the_clusters():
    fired = next(parse("0 3 * * *").after(START, ZoneInfo("Europe/Berlin")))
    assert fired.astimezone(UTC) == datetime(2026, 3, 2, 2, 0, tzinfo=UTC)


def test_a_day_that_never_comes():
    assert next_of("0 0 31 2 *") == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has 0 fields; write 5"),
        ("* * * *", "has 4 fields"),
        ("0 0 3 * * 0 2026", "has 7 fields"),
        ("60 * * * *", "cron field minute: '60' is not within 0-59"),
        ("0 0 0 * *", "cron field day of month"),
        ("0 5-2 * * *", "cron field hour: '5-2'"),
        ("*/0 * * * *", "cron field minute"),
        ("0 x * * *", "cron field hour: 'x' is not a number"),
        ("0 0 * * 7", "cron field day of week: '7' is not within 0-6"),
    ],
)
def test_bad_expressions_are_refused(text, said):
    with pytest.raises(ValueError, match=said.replace("*", r"\*")):
        parse(text)
