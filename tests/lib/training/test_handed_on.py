"""Which weights GRPO hands on, and how that is told."""

import pytest

from components.lib.files import write_jsonl
from components.lib.training.handed_on import PLATEAU, best, handed_on


@pytest.mark.parametrize(
    ("measured", "told"),
    [
        ({}, ""),
        ({10: 0.4, 20: 0.5, 30: 0.3}, "GRPO handed on the weights of step 20 of 30, the best on the plateau split."),
        ({0: 0.4, 10: 0.5, 20: 0.5}, "GRPO handed on the weights of step 10 of 20, the best on the plateau split."),
        (
            {0: 0.5, 10: 0.5, 20: 0.2},
            "GRPO handed on the weights of step 0 of 20, the best on the plateau split: they are those that it began "
            "with, so it changed nothing.",
        ),
    ],
)
def test_the_earliest_of_the_best_is_handed_on_and_named(tmp_path, measured, told):
    rows = [{"step": step, "accuracy": accuracy, "n": 10} for step, accuracy in measured.items()]
    if rows:
        write_jsonl(tmp_path / PLATEAU, rows)
    assert handed_on(tmp_path) == told and bool(best(rows)) == bool(told)
