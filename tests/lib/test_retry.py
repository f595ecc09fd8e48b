"""Retries: how often, how long, and what is not tried again."""

import pytest

from components.lib import retry as retrying
from components.lib.retry import ATTEMPTS, Transient, retry


class Busy(Exception):
    """What passes."""


def judge(error: Exception) -> Transient | None:
    return Transient("busy", error.args[0]) if isinstance(error, Busy) else None


def test_waits_double_unless_the_server_asks_for_another(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waits: list[float] = []
    monkeypatch.setattr(retrying.time, "sleep", waits.append)
    errors = iter([Busy(None), Busy(None), Busy(7.0), Busy(1e6), None])

    def call() -> str:
        if error := next(errors):
            raise error
        return "done"

    assert retry(call, "push", judge) == "done"
    assert waits == [1.0, 2.0, 7.0, 300.0]
    assert "push: busy; try 2 of 6 in 1 s" in capsys.readouterr().out


def test_the_last_error_is_raised_and_others_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retrying.time, "sleep", lambda _: None)
    calls: list[int] = []

    def busy() -> None:
        calls.append(1)
        raise Busy(None)

    with pytest.raises(Busy):
        retry(busy, "push", judge)
    assert len(calls) == ATTEMPTS
    with pytest.raises(ZeroDivisionError):
        retry(lambda: 1 / 0, "push", judge)
