"""Progress: a line when time has passed or all is done, and none between."""

from components.lib import progress


def test_a_line_now_and_then_and_one_at_the_end(monkeypatch, capsys):
    clock = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    found = progress.Progress("work", "apples", 4000)
    said = []
    for _ in range(4):
        clock[0] += 6
        found.add(1000, "some are red")
        said.append(capsys.readouterr().out)
    assert said[0] == said[2] == ""
    assert said[1] == "work: 2,000 of 4,000 apples, 166.7/s, 12 s left, some are red\n"
    assert said[3] == "work: 4,000 of 4,000 apples, 166.7/s, 0 s left, some are red\n"


def test_without_a_total_nothing_is_said_of_the_time_left(monkeypatch, capsys):
    monkeypatch.setattr(progress, "INTERVAL_S", 0)
    progress.Progress("reading", "rows").add(1)
    said = capsys.readouterr().out
    assert said.startswith("reading: 1 rows, ") and "left" not in said
