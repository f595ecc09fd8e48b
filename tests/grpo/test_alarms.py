"""Alarms: each kind from curves that show it, none from curves that do not, each told once."""

from types import SimpleNamespace

import pytest

pytest.importorskip("torch", reason="needs torch: the alarms are not tried")

from components.grpo.alarms import Alarms, found
from components.lib.files import read_jsonl
from components.lib.recipe.recipes import QWEN

LIMITS = QWEN.training
GOOD = {
    "entropy": 0.4, "correct": 0.5, "zero_variance": 0.3, "truncated": 0.02, "completion_length": 200.0,
    "format_without_correct": 0.3, "kl": 0.01,
}  # fmt: skip


def curve(**later):
    """Forty steps, whose last twenty have other values."""
    return [{"step": n, **GOOD, **(later if n > 20 else {})} for n in range(1, 41)]


@pytest.mark.parametrize(
    ("kind", "later", "said"),
    [
        ("entropy", {"entropy": 0.05}, "fell from 0.4 to 0.05 nats a token while only 50% is right"),
        ("zero_variance", {"zero_variance": 0.7}, "70% of the groups are all right or all wrong"),
        ("truncated", {"truncated": 0.25}, "25% of the completions hit the length limit; raise grpo_max_new_tokens"),
        ("kl", {"kl": 0.9}, "0.9 nats a token from where it began"),
        ("length", {"completion_length": 450.0}, "went from 200 to 450 tokens"),
        ("length", {"completion_length": 60.0}, "went from 200 to 60 tokens"),
        ("format", {"format_without_correct": 0.45}, "rose by 15 points and right ones did not"),
    ],
)
def test_each_kind_is_found(kind, later, said):
    alarms = found(curve(**later), LIMITS)
    assert list(alarms) == [kind] and said in alarms[kind]


@pytest.mark.parametrize(
    "later",
    [
        {},
        {"correct": 0.98, "entropy": 0.01, "zero_variance": 0.9},  # solved: nothing is left to explore
        {"correct": 0.6, "format_without_correct": 0.45},  # more form, and more right answers
    ],
)
def test_a_healthy_run_raises_none(later):
    assert found(curve(**later), LIMITS) == {}


def test_two_windows_are_needed():
    assert found(curve(truncated=0.9)[15:34], LIMITS) == {}
    assert set(found(curve(truncated=0.9)[11:], LIMITS)) == {"truncated"}


def test_a_run_without_a_kl_term_has_no_kl():
    rows = [{k: v for k, v in row.items() if k != "kl"} for row in curve()]
    assert found(rows, LIMITS) == {}


def test_each_is_told_once_also_after_a_resume(tmp_path, capsys):
    recorder = SimpleNamespace(rows=curve(truncated=0.5), path=tmp_path / "curves.jsonl")
    state = SimpleNamespace(is_world_process_zero=True, global_step=40)
    alarms = Alarms(recorder, LIMITS)
    alarms.on_log(None, state, None)
    alarms.on_log(None, state, None)
    Alarms(recorder, LIMITS).on_log(None, state, None)
    assert capsys.readouterr().out.count("ALARM at step 40: 50%") == 1
    assert [row["kind"] for row in read_jsonl(tmp_path / "alarms.jsonl")] == ["truncated"]
