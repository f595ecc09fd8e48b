"""Eight weekly retrainings that nobody watches: data arrives, things break, the right model stays champion."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from components.lib.files import read_jsonl, write_jsonl
from components.lib.registry.base import Store
from components.lib.registry.champion import read_champion
from components.lib.registry.outcome import read_outcomes
from components.lib.registry.store import open_store
from tests import ROOT
from tests.fixtures.minio_server import MISSING, find_minio
from tests.fixtures.quarter_world import REGISTRY, Sources, Week, world

pytestmark = [
    pytest.mark.slow, pytest.mark.timeout(3600), pytest.mark.skipif(find_minio() is None, reason=MISSING),
]  # fmt: skip
# What arrives each week, counted in rows; an empty week brings nothing.
ARRIVALS: list[dict[str, int]] = [
    {"problems": 1200, "guesses": 320}, {"traces": 60}, {"problems": 40, "traces": 240}, {"problems": 40, "traces": 40},
    {}, {"problems": 40, "traces": 60}, {"problems": 40, "wrong": 400}, {"problems": 40, "traces": 160},
]  # fmt: skip
NO_CHANGE, GRPO_DIES, REGRESSION = 5, 6, 7
PUSH_DIES = 3  # or the first week from then on whose model is promoted


@dataclass
class Quarter:
    """What the observer wrote down, week by week, and what was left at the end."""

    weeks: list[dict[str, Any]]
    push_died: int  # the week
    champions: list[str]  # version after each week, by the registry
    store: Store
    history: str


@pytest.fixture(scope="module")
def quarter(tmp_path_factory: pytest.TempPathFactory) -> Any:
    directory = tmp_path_factory.mktemp("quarter")
    with world(directory) as (sources, gate, environment), pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        store = open_store(REGISTRY)
        weeks, champions, push_died = [], [], 0
        for number, arrival in enumerate(ARRIVALS, 1):
            arrive(sources, number, arrival)
            with Week(directory / "out", environment) as week:
                if number >= PUSH_DIES and not push_died:
                    gate.hold_upload(5)
                    push_died = number * week.kill_step("push", gate.held.is_set)
                    gate.let_go()
                if number == GRPO_DIES:
                    assert week.kill_step("grpo", lambda: trained(store))
                weeks.append(week.end())
            champions.append(read_champion(store).get("version", ""))
            print(
                f"week {number}: {weeks[-1]['ending']}, {weeks[-1]['wall_s']:.0f} s: {weeks[-1]['reason']}", flush=True
            )
        command = [sys.executable, "pipeline.py", "history", "--registry", REGISTRY]
        command += ["--output", str(directory / "history.html")]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        print(f"{done.stdout}\nthe quarter took {sum(week['wall_s'] for week in weeks) / 60:.1f} min", flush=True)
        yield Quarter(weeks, push_died, champions, store, done.stdout)


def arrive(sources: Sources, number: int, arrival: dict[str, int]) -> None:
    if number == REGRESSION + 1:
        sources.mend()
    if arrival:
        sources.add(**arrival)


def trained(store: Store) -> bool:
    """Whether a GRPO that runs now has said that it has made a step."""
    keys = [key for key in store.keys("runs") if key.endswith("/record/grpo.json")]
    found = [record for key in keys if (record := store.read_json(key)) and record["outcome"] == "running"]
    return any(line.startswith("step ") for record in found for line in record["log"])


def accuracy(week: dict[str, Any]) -> float:
    """The candidate's accuracy on the evaluation problems, which stay the same all the time."""
    return week["results"][-1]["accuracy"]


def test_every_week_ends_as_it_must(quarter: Quarter) -> None:
    endings = [week["ending"] for week in quarter.weeks]
    assert endings[0] == "promoted"
    assert {number for number, ending in enumerate(endings, 1) if ending == "failed"} == {quarter.push_died, GRPO_DIES}
    assert quarter.push_died, "no push was interrupted"
    assert {number for number, ending in enumerate(endings, 1) if ending == "no-change"} == {NO_CHANGE}
    assert endings[REGRESSION - 1] == "rejected"
    assert [week["status"] for week in quarter.weeks] == [int(ending == "failed") for ending in endings]
    assert sum(ending == "promoted" for ending in endings) >= 2, "it was better once the push went well"


def test_the_champion_is_always_the_last_model_that_was_promoted(quarter: Quarter) -> None:
    expected = ""
    for week, champion in zip(quarter.weeks, quarter.champions, strict=True):
        if week["ending"] == "promoted":
            assert week["model"].endswith(champion) and champion != expected
            expected = champion
        assert champion == expected


def test_it_is_the_right_one(quarter: Quarter) -> None:
    """On problems that decide nothing: it is the best that was promoted, and nothing far better was turned away."""
    promoted = [accuracy(week) for week in quarter.weeks if week["ending"] == "promoted"]
    rejected = [accuracy(week) for week in quarter.weeks if week["ending"] == "rejected"]
    assert promoted == sorted(promoted) and promoted[-1] > promoted[0] + 0.2 and promoted[-1] > 0.85
    assert max(rejected) < promoted[-1] + 0.05
    regression = quarter.weeks[REGRESSION - 1]
    assert accuracy(regression) < promoted[-1] - 0.2 and "points to the champion" in regression["reason"]


def test_a_week_without_news_trains_nothing(quarter: Quarter) -> None:
    week = quarter.weeks[NO_CHANGE - 1]
    assert set(week["seconds"]) == {"preflight", "total"} and week["wall_s"] < 30
    assert "nothing has changed since champion" in week["reason"]


def test_new_rows_are_picked_up_and_can_be_traced(quarter: Quarter) -> None:
    """The champion's own list of rows holds exactly what had arrived when it was trained, less what was refused."""
    new = {run.run_id: run.numbers["compare"]["new_rows"] for run in read_outcomes(quarter.store) if run.judged}
    for number, (week, arrival) in enumerate(zip(quarter.weeks, ARRIVALS, strict=True), 1):
        if week["run_id"] in new and number > 1:
            since = next(n for n in range(number - 1, 0, -1) if quarter.weeks[n - 1]["ending"] == "promoted")
            arrived = sum(sum(rows.values()) for rows in ARRIVALS[since:number])
            mended = 400 if since < REGRESSION < number else 0
            assert 0.9 * (arrived - mended) <= new[week["run_id"]] <= arrived - mended, (number, arrival)
    champion = read_champion(quarter.store)
    rows = quarter.store.read(f"runs/{champion['run_id']}/results/rows.jsonl")
    assert rows is not None and b'"source": "traces"' in rows and b'"source": "problems"' in rows


def test_the_crashes_are_told_with_the_step_and_its_last_lines(quarter: Quarter) -> None:
    outcomes = {run.run_id: run for run in read_outcomes(quarter.store)}
    push, grpo = (outcomes[quarter.weeks[number - 1]["run_id"]] for number in (quarter.push_died, GRPO_DIES))
    assert push.failed_step == "push" and "push died before it could say why" in push.sentence
    assert grpo.failed_step == "grpo" and any(line.startswith("step ") for line in grpo.log)


def test_the_registry_is_clean(quarter: Quarter, tmp_path: Path) -> None:
    store, champion = quarter.store, read_champion(quarter.store)
    kept = [champion, *champion["former"][-1:]]
    models = {key.split("/")[1] for key in store.keys("models")}
    # The last run has tidied before it pushed, so one more may be left if it was promoted.
    allowed = {entry["version"] for entry in [champion, *champion["former"][-2:]]}
    assert {entry["version"] for entry in kept} <= models <= allowed
    for version in models:
        store.get_tree(f"models/{version}", tmp_path / version)  # whole, every checksum right
    assert {key.split("/")[1] for key in store.keys("datasets")} <= {e["data"] for e in [champion, *champion["former"]]}
    details = {key.split("/")[1] for key in store.keys("runs") if not key.endswith("/outcome.json")}
    worked = [week["run_id"] for week in quarter.weeks if week["ending"] != "no-change"]
    idle = [week["run_id"] for week in quarter.weeks if week["ending"] == "no-change"]
    assert details <= {*worked[-5:], *idle, champion["run_id"]} and champion["run_id"] in details
    assert {key.split("/")[0] for key in store.keys("")} == {"champion", "datasets", "lock", "models", "runs"}
    (lock,) = store.keys("lock")
    assert store.read_json(lock)["released"] and store.read_json(lock)["run_id"] == quarter.weeks[-1]["run_id"]


def test_the_history_is_true(quarter: Quarter) -> None:
    """Line by line what the observer saw."""
    lines = quarter.history.splitlines()[2 : 2 + len(ARRIVALS)]
    for line, week, champion in zip(lines, quarter.weeks, quarter.champions, strict=True):
        cells = line.split()
        step = f" ({week['failed_step']})" if week["failed_step"] else ""
        assert cells[2] == week["run_id"] and f"  {week['ending']}{step}  " in line and cells[-1] == champion
        if week["results"]:
            assert f"{week['results'][-1]['correct']}/200 " in line
    promoted = sum(week["ending"] == "promoted" for week in quarter.weeks)
    assert f"Champion number {promoted}: {quarter.champions[-1]} of run" in quarter.history


def test_the_champions_released_weights_do_what_the_history_says(quarter: Quarter, tmp_path: Path) -> None:
    """Asked anew, from the registry alone, in a process of its own."""
    champion = read_champion(quarter.store)
    quarter.store.get_tree(f"models/{champion['version']}", tmp_path / "model")
    quarter.store.get_tree(f"datasets/{champion['data']}", tmp_path / "data")
    kept = {row["id"]: row for row in read_jsonl(tmp_path / "model" / "evaluation" / "items.jsonl")}
    for split in ("evaluation", "gate"):
        rows = [{"id": r["id"], "question": r["question"], "gold": r["gold"], "hash": r["id"]} for r in kept.values()
                if r["split"] == split]  # fmt: skip
        write_jsonl(tmp_path / "data" / f"{split}.jsonl", rows)
    command = [sys.executable, "-m", "components.evaluate", "--model", str(tmp_path / "model"), "--revision", ""]
    command += ["--checkpoint", "grpo", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out"), "--seed", "0"]
    command += ["--set", "protocols=zero-shot", "--set", "problems=0", "--set", "gate_problems=0"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    agree = [kept[row["id"]]["correct"] == row["correct"] for row in read_jsonl(tmp_path / "out" / "items.jsonl")]
    assert len(agree) > 300 and sum(agree) / len(agree) > 0.97, "bfloat16 may turn a few answers"
