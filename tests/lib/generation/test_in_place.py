"""A decoding step that writes the new state of DeltaNet over the old one."""

import importlib.util
import os
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch", reason="needs torch: nothing is decoded")

from transformers.models.qwen3_5 import modeling_qwen3_5 as module  # noqa: E402

from components.lib.generation import in_place  # noqa: E402
from components.lib.generation.decode import Decoder, Row  # noqa: E402
from components.lib.generation.graph_decode import GraphDecoder  # noqa: E402
from components.lib.training import common  # noqa: E402
from tests import ROOT  # noqa: E402

KERNEL = """
import torch
from transformers.models.qwen3_5.modeling_qwen3_5 import torch_recurrent_gated_delta_rule
from components.lib.generation import in_place
plain = torch_recurrent_gated_delta_rule.__wrapped__
torch.manual_seed(0)
for heads, values, size in ((2, 2, 16), (1, 2, 12)):
    query, key = (torch.randn(3, 1, heads, 16) for _ in range(2))
    value, g, beta = torch.randn(3, 1, values, size), -torch.rand(3, 1, values), torch.rand(3, 1, values)
    state = torch.randn(3, values, 16, size)
    wide = [part.repeat_interleave(values // heads, dim=2) for part in (query, key)]
    expected = plain(
        *wide, value, g=g, beta=beta, initial_state=state.clone(), output_final_state=True, use_qk_l2norm_in_kernel=True
    )
    before, place = state.clone(), state.data_ptr()
    out = in_place.launch(query, key, value, g, beta, state, True)
    assert state.data_ptr() == place and (state - before).abs().max() > 0.1
    torch.testing.assert_close(out, expected[0], atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(state, expected[1], atol=1e-5, rtol=1e-4)
print("equal")
"""


@pytest.mark.skipif(
    importlib.util.find_spec("fla") is None, reason="needs flash-linear-attention: its kernel is not run"
)
def test_the_real_kernel_with_one_buffer_for_both_states():
    """By Triton's interpreter, so without a GPU."""
    environment = os.environ | {"TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", KERNEL], cwd=ROOT, env=environment, capture_output=True, encoding="utf-8"
    )
    assert done.stdout.strip() == "equal", done.stderr


PLAIN = module.torch_recurrent_gated_delta_rule


def by_torch(query, key, value, g, beta, state, l2norm):
    """What the kernel computes, and where it writes."""
    out, new = PLAIN(
        query, key, value, g=g, beta=beta, initial_state=state, output_final_state=True, use_qk_l2norm_in_kernel=l2norm
    )
    state.copy_(new)
    return out


@pytest.fixture
def launched(monkeypatch):
    """The states that were written over; the torch path does the arithmetic in the place of the kernel."""
    states = []

    def launch(*arguments):
        states.append(arguments[5])
        return by_torch(*arguments)

    monkeypatch.setattr(module, in_place.STEP, in_place.in_place(PLAIN, launch))
    return states


@pytest.fixture(scope="module")
def tiny():
    return common.load_model("tiny", "main").eval()


def written(decoder, model):
    rows = [Row(list(range(5, 5 + length)), lambda ids: "") for length in (9, 9, 9, 12, 7)]
    decoder.decode(model, rows, torch.Generator().manual_seed(0))
    return [row.written for row in rows]


@pytest.mark.parametrize("kind", [Decoder, GraphDecoder])
def test_the_same_tokens_and_no_state_is_made_anew(tiny, monkeypatch, launched, kind):
    with monkeypatch.context() as undone:
        undone.setattr(module, in_place.STEP, getattr(module, in_place.STEP).__wrapped__)
        expected = written(kind(limit=20, temperature=1.0), tiny)
    assert not launched
    decoder = kind(limit=20, temperature=1.0)
    assert written(decoder, tiny) == expected
    assert launched
    if kind is GraphDecoder:
        kept = {state.data_ptr() for layer in decoder.fixed.of(8).layers for state in states_of(layer)}
        assert {state.data_ptr() for state in launched} == kept, "the cache's own buffers, of all sizes"


def test_a_kernel_that_does_not_run_or_computes_something_else_is_not_taken(tiny):
    device = torch.device("cpu")

    def wrong(*arguments):
        return 1.5 * by_torch(*arguments)

    def broken(*_):
        raise TypeError("no argument q")

    assert in_place.otherwise(PLAIN, by_torch, device) == ""
    assert in_place.otherwise(PLAIN, wrong, device).startswith("its kernel gives another result here, by ")
    assert in_place.otherwise(PLAIN, broken, device) == "its kernel does not run here (TypeError: no argument q)"


def states_of(layer):
    return [state for state in getattr(layer, "recurrent_states", {}).values() if state is not None]


def test_a_state_that_a_gradient_needs_is_left_alone(tiny, launched):
    from transformers import DynamicCache

    cache = DynamicCache(config=tiny.config)
    ids = torch.arange(10)[None]
    tiny(input_ids=ids[:, :-1], past_key_values=cache, use_cache=True)
    tiny(input_ids=ids[:, -1:], past_key_values=cache, use_cache=True)
    assert not launched
    with torch.no_grad():
        tiny(input_ids=ids[:, -1:], past_key_values=cache, use_cache=True)
    assert launched
