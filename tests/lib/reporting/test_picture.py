"""The README's picture: a whole SVG file that shows each checkpoint and the line of the training."""

from xml.etree import ElementTree

import pytest

from components.compare.compare import compute
from components.lib.recipe.recipes import TINY
from components.lib.recipe.schema import Compare
from components.lib.recipe.settings import replace
from components.lib.reporting.picture import picture

RECIPE = replace(TINY, compare=Compare(confidence=0.95, bootstrap_samples=200, examples=1))


@pytest.fixture
def results(evaluations):
    found = compute(evaluations, {}, RECIPE)
    steps = [[step, step / 10] for step in range(1, 11)]
    return found | {"curves": {"sft": {"loss": steps}, "grpo": {"loss": steps, "correct": steps}}}


def drawn(results):
    root = ElementTree.fromstring(picture(results))
    return lambda tag: [node for node in root.iter() if node.tag.endswith(f"}}{tag}")]


def test_every_checkpoint_and_the_training_are_there(results):
    nodes = drawn(results)
    assert len(nodes("circle")) == 3 and len(nodes("polyline")) == 1
    assert len(nodes("polyline")[0].get("points").split()) == 10
    words = [node.text for node in nodes("text")]
    assert {"25.0 %", "50.0 %", "75.0 %", "SFT, 10 steps", "GRPO, 10 steps"} <= set(words)


def test_checkpoints_lie_where_their_training_ends_and_as_high_as_they_score(results):
    base, sft, grpo = ((float(dot.get("cx")), float(dot.get("cy"))) for dot in drawn(results)("circle"))
    assert base[0] < sft[0] < grpo[0] and sft[0] - base[0] == pytest.approx(grpo[0] - sft[0], abs=0.2)
    assert base[1] > sft[1] > grpo[1], "y grows downwards"


def test_a_run_without_sft_has_one_part(results):
    results["curves"].pop("sft")
    results["results"] = [row for row in results["results"] if row["checkpoint"] != "sft"]
    assert [node.text for node in drawn(results)("text") if "steps" in node.text] == ["GRPO, 10 steps"]
