"""Which models' rows can share the reading of their prompt, and what the gradient is then."""

import pytest
import torch
from transformers import AutoModelForCausalLM

from components.lib.training import sharing
from tests.fixtures.families import FAMILIES

# Family -> whether the gradient flows through its cache, and whether checkpointed layers can use one. Jamba's scan
# starts from a state of zeros where a gradient is wanted; GPT-2's layers do not say which number they have.
FOUND = {"llama": (True, True), "gpt2": (True, False), "mamba2": (True, True), "jamba": (False, True)}


@pytest.mark.parametrize("name", FOUND)
def test_a_prompt_is_shared_where_its_gradient_is_the_same(name, tmp_path):
    (family,) = (family for family in FAMILIES if family.name == name)
    model = AutoModelForCausalLM.from_pretrained(family.build(tmp_path), dtype=torch.float32).train()
    flows, kept = FOUND[name]
    assert sharing.gradients_flow(model) is flows and model.training
    model.activation_checkpointing_enable()
    assert sharing.can_keep_caches(model) is kept
    if flows and kept:
        for shared, alone in zip(sharing.probe(model, True), sharing.probe(model, False), strict=True):
            torch.testing.assert_close(shared, alone, rtol=1e-3, atol=1e-5)
