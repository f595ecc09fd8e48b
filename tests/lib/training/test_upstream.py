"""What is used of transformers and TRL without their promise is there, all of it is listed, and a change is told."""

import pytest

torch = pytest.importorskip("torch", reason="needs torch: no trainer is looked at")

from components.grpo.trainer import GrpoTrainer  # noqa: E402
from components.lib.training import upstream  # noqa: E402
from components.sft.train import SftTrainer  # noqa: E402


@pytest.mark.parametrize("trainer", [SftTrainer, GrpoTrainer])
def test_the_pinned_versions_have_what_is_used(trainer):
    upstream.check(trainer)


@pytest.mark.parametrize("trainer", [SftTrainer, GrpoTrainer])
def test_every_private_method_that_is_overridden_is_listed(trainer):
    listed = {name for methods in upstream.USED.values() for name in methods}
    ours = [kind for kind in trainer.__mro__ if kind.__module__.startswith("components.")]
    theirs = [kind for kind in trainer.__mro__ if kind not in ours]
    overridden = {n for kind in ours for n in vars(kind) if any(n in vars(other) for other in theirs)}
    private = {name for name in overridden if name.startswith("_") and not name.startswith("__")}
    assert private <= listed and "_get_grad_norm" in private


def test_a_method_that_moved_or_changed_is_told(monkeypatch):
    monkeypatch.setitem(upstream.USED, "Trainer", {"_get_grad_norm": ("model", "norm"), "_gone": ()})
    with pytest.raises(ValueError, match="do not fit this project") as caught:
        upstream.check(SftTrainer)
    assert "Trainer._get_grad_norm takes ['model', 'grad_norm'], expected ['model', 'norm']" in str(caught.value)
    assert "Trainer._gone is gone" in str(caught.value)


def test_a_cache_that_works_another_way_is_told(monkeypatch):
    monkeypatch.setattr(upstream, "STATES", "is_initialized")
    with pytest.raises(ValueError, match="LinearAttentionLayer.is_initialized is gone"):
        upstream.check(SftTrainer)


def test_a_head_that_skips_by_another_name_is_told(monkeypatch):
    monkeypatch.setattr(upstream, "SKIPS", "_skips_prompts")
    with pytest.raises(ValueError, match=r"trl.trainer.utils._skips_prompts is gone"):
        upstream.check(SftTrainer)
