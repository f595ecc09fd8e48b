"""The check before the first step, with an engine that is a second model: in step, left behind, or wrong."""

import pytest

from components.lib.recipe.settings import replace

torch = pytest.importorskip("torch", reason="needs torch: no engine is compared")

from components.grpo import train as grpo  # noqa: E402
from components.grpo.agreement import check_agreement  # noqa: E402
from components.grpo.rollouts import Rollouts, encode  # noqa: E402
from components.grpo.scorer import Scorer  # noqa: E402
from components.lib.files import read_jsonl  # noqa: E402
from components.lib.generation.decode import Decoder, Row  # noqa: E402
from components.lib.generation.prompts import asking  # noqa: E402
from components.lib.training import common  # noqa: E402
from tests.lib.training.runs import GRPO, job  # noqa: E402


class SecondModel:
    """An engine with weights of its own; `follows` says which of them a sync brings."""

    def __init__(self, trainer, text, follows=lambda name: True):
        self.trainer, self.text, self.follows = trainer, text, follows
        self.model, self.synced = common.load_model("tiny", "main").eval(), 0

    def generate(self, prompts):
        rows = [Row(prompt, self.text.ended) for prompt in prompts]
        Decoder(limit=12, temperature=1.0).decode(self.model, rows, torch.Generator().manual_seed(self.synced))
        completions, found = [row.written for row in rows], []
        for prompt, completion in zip(prompts, completions, strict=True):
            with torch.no_grad():
                logits = self.model(torch.tensor([[*prompt, *completion]])).logits[0, len(prompt) - 1 : -1]
            found.append(logits.log_softmax(-1).gather(1, torch.tensor(completion)[:, None])[:, 0].tolist())
        return completions, found

    def sync(self):
        self.synced += 1
        with torch.no_grad():
            for (name, mine), theirs in zip(
                self.model.named_parameters(), self.trainer.model.parameters(), strict=True
            ):
                if self.follows(name):
                    mine.copy_(theirs)


@pytest.fixture
def trainer(data, tmp_path):
    """A trainer of the embedded model that is ready to train, the prompts of its problems, and its text."""
    work = job("grpo", data, tmp_path, replace(GRPO, temperature=1.0))
    tokenizer, model = common.load_tokenizer("tiny", "main"), common.load_model("tiny", "main")
    problems = list(read_jsonl(data / "problems.jsonl"))
    rollouts = Rollouts(work, tokenizer)
    scorer = Scorer(rollouts.text, GRPO, problems, tmp_path / "samples.jsonl")
    with common.old_names():
        made = grpo.make_trainer(
            work, model, tokenizer, scorer, rollouts, grpo.one_pass(problems, {}, GRPO, 0, tokenizer)
        )
    return made, encode(tokenizer, [asking(row) for row in problems[:6]]), rollouts.text


def weights(trainer):
    return {name: p.detach().clone() for name, p in trainer.model.named_parameters()}


def test_an_engine_in_step_agrees_and_the_weights_come_back(trainer):
    made, prompts, text = trainer
    before, engine = weights(made), SecondModel(made, text)
    assert check_agreement(made, engine, prompts).startswith("rollouts agree with the trainer: ")
    for name, parameter in made.model.named_parameters():
        assert torch.equal(before[name], parameter) and parameter.grad is None
        assert torch.equal(before[name], engine.model.get_parameter(name))


@pytest.mark.parametrize(
    "follows",
    [lambda name: False, lambda name: "layers.0" in name],
    ids=["nothing arrives", "one layer arrives"],
)
def test_an_engine_left_behind_stops_the_run(trainer, follows):
    made, prompts, text = trainer
    before = weights(made)
    with pytest.raises(RuntimeError, match="after an update and a sync: the weights do not arrive; set grpo_rollouts="):
        check_agreement(made, SecondModel(made, text, follows), prompts)
    assert all(torch.equal(before[name], p) for name, p in made.model.named_parameters())


def test_an_engine_that_computes_something_else_stops_the_run(trainer):
    made, prompts, text = trainer

    class Wrong(SecondModel):
        def generate(self, prompts):
            completions, logprobs = super().generate(prompts)
            return completions, [[value - 0.3 for value in row] for row in logprobs]

    with pytest.raises(RuntimeError, match=r"by 0\.3 nats a token \(at most 0\.1\) before any update"):
        check_agreement(made, Wrong(made, text), prompts)
