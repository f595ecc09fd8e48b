"""The two ways to decode write the same: rows that part from a shared prompt, end early, and move to smaller caches."""

import random
from functools import partial

import pytest

torch = pytest.importorskip("torch", reason="needs torch: nothing is decoded")
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402
from torch.utils._pytree import tree_leaves  # noqa: E402
from transformers import TopPLogitsWarper  # noqa: E402

from components.lib.generation import draw, prompts  # noqa: E402
from components.lib.generation.decode import Decoder, NotFinite, Row, by_prompt, common_prefix  # noqa: E402
from components.lib.generation.graph_decode import GraphDecoder, padded, rows_of, sizes  # noqa: E402
from components.lib.tiny.problems import rows as problems  # noqa: E402
from components.lib.training import common  # noqa: E402
from tests.fixtures import memory  # noqa: E402

MIB = 100  # of memory that is left where it runs out; all rows of the test need 200


@pytest.fixture(scope="module")
def tiny():
    """Model, prompts of unequal length, and the end tokens."""
    tokenizer, model = common.load_tokenizer("tiny", "main"), common.load_model("tiny", "main").eval()
    asked = [row["question"] for row, _ in zip(problems("problems", 0), range(7), strict=False)]
    texts = [prompts.render(tokenizer, prompts.question_messages(question)) for question in asked]
    return model, [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts], tokenizer


def written(decoder, model, ids, over, copies=1, seed=0):
    rows = [Row(prompt, over) for prompt in ids for _ in range(copies)]
    decoder.decode(model, rows, torch.Generator().manual_seed(seed))
    return [(row.written, row.why) for row in rows]


def newline(tokenizer):
    """Ends at the second newline, so that rows end at different times."""
    stop = tokenizer.convert_tokens_to_ids(tokenizer.tokenize("\n"))[0]
    return lambda ids: "end token" if ids.count(stop) == 2 else ""


def test_buffers_that_never_move_hold_the_same(tiny):
    model, ids, tokenizer = tiny
    for count, copies in ((7, 3), (1, 1), (2, 8), (5, 1)):
        plain = written(Decoder(limit=30, temperature=0.0), model, ids[:count], newline(tokenizer), copies)
        static = GraphDecoder(limit=30, temperature=0.0)
        assert written(static, model, ids[:count], newline(tokenizer), copies) == plain
        assert written(static, model, ids[:count], newline(tokenizer), copies) == plain, "its caches are used again"
    assert len({len(tokens) for tokens, _ in plain}) > 1


def test_buffers_of_four_layers(random_model):
    model, tokenizer = common.load_model(str(random_model), "").eval(), common.load_tokenizer(str(random_model), "")
    ids = [tokenizer(f"{'again ' * n}and")["input_ids"] for n in range(1, 20)]
    over = partial(lambda limit, written: "end token" if len(written) == limit else "", 9)
    plain = written(Decoder(limit=12, temperature=0.0), model, ids, over)
    assert written(GraphDecoder(limit=12, temperature=0.0), model, ids, over) == plain


@pytest.mark.parametrize(("temperature", "top_p", "few"), [(1.0, 1.0, draw.FEW), (0.7, 0.9, draw.FEW), (1.0, 1.0, 100)])
def test_every_step_is_the_same_to_a_graph(tiny, monkeypatch, temperature, top_p, few):
    """Same operations on the same places each time, nothing read by the host, nothing made that stays."""
    monkeypatch.setattr(draw, "FEW", few)  # as a large vocabulary is drawn from
    model, ids, tokenizer = tiny
    decoder = GraphDecoder(limit=40, temperature=temperature, top_p=top_p)
    written(decoder, model, ids, newline(tokenizer), copies=3)
    slate = decoder.slates[32]
    with torch.inference_mode():
        slate.position.fill_(50)
    buffers = {name: value.data_ptr() for name, value in vars(slate).items() if isinstance(value, torch.Tensor)}
    traces = []
    for _ in range(2):
        with torch.inference_mode(), Operations() as seen:
            slate.step()
        traces.append(seen.names)
    assert traces[0] == traces[1] and len(traces[0]) > 100
    assert not [name for name in traces[0] if "local_scalar" in name or "item" in name or "nonzero" in name], (
        "host reads"
    )
    assert not [name for name in traces[0] if "sort." in name], "the vocabulary is not sorted"
    assert buffers == {name: value.data_ptr() for name, value in vars(slate).items() if isinstance(value, torch.Tensor)}


def test_fewer_rows_are_the_beginning_of_the_same_buffers(tiny):
    model, ids, tokenizer = tiny
    decoder = GraphDecoder(limit=30, temperature=0.0)
    written(decoder, model, ids, newline(tokenizer), copies=5)
    assert sorted(decoder.slates) == [8, 16, 32, 64] == sorted(sizes(64))
    largest = decoder.slates[64].cache
    for rows in (8, 16, 32):
        for mine, theirs in zip(decoder.slates[rows].cache.layers, largest.layers, strict=True):
            for one, other in zip(tensors_of(mine), tensors_of(theirs), strict=True):
                assert (one.data_ptr() == other.data_ptr() and one.shape[0] in (rows, 1)) or one.ndim == 0
    fixed = decoder.fixed
    written(decoder, model, ids, newline(tokenizer))
    assert decoder.fixed is fixed, "what fits is used again"
    written(decoder, model, long_prompts(2), newline(tokenizer))
    assert decoder.fixed is not fixed and decoder.fixed.length > fixed.length


def test_two_decoders_share_their_buffers(tiny):
    model, ids, tokenizer = tiny
    drawn = GraphDecoder(limit=20, temperature=1.0)
    greedy = GraphDecoder(limit=20, temperature=0.0, like=drawn)
    expected = written(Decoder(limit=20, temperature=0.0), model, ids, newline(tokenizer))
    for _ in range(2):
        written(drawn, model, ids, newline(tokenizer), copies=2)
        assert written(greedy, model, ids, newline(tokenizer)) == expected
        assert greedy.fixed is drawn.fixed is drawn.buffers.fixed


def tensors_of(layer):
    """The tensors of a cache's layer that outlive a step."""
    states = [*getattr(layer, "conv_states", {}).values(), *getattr(layer, "recurrent_states", {}).values()]
    return [
        part for part in (getattr(layer, "keys", None), getattr(layer, "values", None), *states) if part is not None
    ]


class Operations(TorchDispatchMode):
    """The names and shapes of what PyTorch is asked to do."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        shapes = [tuple(one.shape) for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
        self.names.append(f"{func} {shapes}")
        return func(*args, **(kwargs or {}))


def test_copies_of_a_prompt_draw_apart_and_again_alike(tiny):
    model, ids, tokenizer = tiny
    decoder = Decoder(limit=20, temperature=3.0)
    first = written(decoder, model, ids, newline(tokenizer), copies=4)
    assert len({tuple(tokens) for tokens, _ in first[:4]}) > 1
    assert written(decoder, model, ids, newline(tokenizer), copies=4) == first
    assert written(decoder, model, ids, newline(tokenizer), copies=4, seed=1) != first


def test_tokens_are_drawn_with_their_probability():
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.2, 1e-9]])).expand(20_000, 4)
    for decoder, expected in (
        (Decoder(limit=1, temperature=1.0), [0.5, 0.3, 0.2, 0.0]),
        (Decoder(limit=1, temperature=1.0, top_p=0.7), [0.625, 0.375, 0.0, 0.0]),
        (Decoder(limit=1, temperature=0.5), [25 / 38, 9 / 38, 4 / 38, 0.0]),
    ):
        drawn = decoder._choose(logits, torch.Generator().manual_seed(0))
        shares = torch.bincount(drawn, minlength=4) / len(drawn)
        assert shares.tolist() == pytest.approx(expected, abs=0.012)


def test_tokens_of_a_large_vocabulary_are_drawn_with_their_probability():
    """Where they are summed by blocks: the last one is not whole, and most of them hold nothing likely."""
    count = draw.FEW + draw.BLOCK + 100
    shares = torch.zeros(count)
    wanted = {3: 0.1, draw.BLOCK - 1: 0.2, draw.BLOCK: 0.3, 7 * draw.BLOCK + 5: 0.25, count - 1: 0.15}
    shares[list(wanted)] = torch.tensor([*wanted.values()])
    logits = (shares + 1e-12).log().expand(20_000, count)
    for top_p, kept in ((1.0, wanted), (0.7, {token: wanted[token] for token in (draw.BLOCK - 1, draw.BLOCK, 3589)})):
        drawn = draw.tokens_of(logits, 1.0, top_p, torch.Generator().manual_seed(0))
        found = torch.bincount(drawn, minlength=count) / len(drawn)
        expected = {token: share / sum(kept.values()) for token, share in kept.items()}
        assert {token: found[token].item() for token in expected} == pytest.approx(expected, abs=0.012)
        assert found[list(expected)].sum() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("count", [draw.FEW + 1, 248_320])
def test_blocks_and_one_by_one_draw_the_same_token(count):
    shares = torch.randn(64, count, generator=torch.Generator().manual_seed(1)).mul(4).softmax(dim=-1)
    plain, blocks = (f(shares, torch.Generator().manual_seed(2)) for f in (draw._one_by_one, draw._by_blocks))
    # Sums of so many numbers round: a token beside it in the order of the vocabulary may be drawn.
    assert (plain == blocks).float().mean() > 0.9 and (plain - blocks).abs().max() < 100
    assert draw._by_blocks(shares * float("nan"), torch.Generator()).max() < count, "broken weights are told elsewhere"


def test_the_nucleus_is_that_of_transformers():
    logits = torch.randn(4_000, 50, generator=torch.Generator().manual_seed(1))[:1].expand(4_000, 50) * 2
    kept = torch.isfinite(TopPLogitsWarper(0.8)(None, logits[:1]))[0]
    drawn = draw.tokens_of(logits, 1.0, 0.8, torch.Generator().manual_seed(0))
    assert set(drawn.tolist()) == set(kept.nonzero()[:, 0].tolist())


@pytest.mark.fault("memory runs out while completions are written")
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_what_does_not_fit_the_memory_goes_on_with_fewer_rows(tiny, capsys, seen, monkeypatch, temperature):
    model, _, _ = tiny
    prompts, over = long_prompts(24), partial(lambda limit, ids: "end token" if len(ids) == limit else "", 9)
    decoder, sizes = Decoder(limit=12, temperature=temperature), []
    fits = decoder._fits

    def noted(model, rows, generator):
        fitted = fits(model, rows, generator)
        sizes.extend([len(rows)] if fitted else [])
        return fitted

    monkeypatch.setattr(decoder, "_fits", noted)
    written(Decoder(limit=12, temperature=0.0), model, prompts[:1], over)  # what is loaded at the first call
    with memory.left(MIB):
        found = written(decoder, model, prompts, over)
    told = capsys.readouterr().out.splitlines()
    assert told[-1].endswith(f" completions do not fit the memory, {decoder.together} go together")
    assert 1 <= decoder.together <= 12 and all(why == "end token" for _, why in found)
    unlimited, generator = Decoder(limit=12, temperature=temperature), torch.Generator().manual_seed(0)
    rows = [Row(prompt, over) for prompt in prompts]
    for size in sizes:  # as many together as fitted then, which the memory decides anew with each
        unlimited.decode(model, [row for row in rows if not row.why][:size], generator)
    assert found == [(row.written, row.why) for row in rows]
    seen(told[0])


@pytest.mark.fault("not even one completion fits the memory")
def test_a_single_row_that_does_not_fit_says_what_to_lower(tiny, seen):
    model, _, _ = tiny
    with pytest.raises(
        RuntimeError, match="out of memory: a prompt of 8000 tokens and .* lower max_new_tokens"
    ) as error:
        with memory.left(1):
            written(Decoder(limit=12, temperature=0.0), model, long_prompts(1, 8000), str)
    seen(str(error.value), lost="the batch")


def long_prompts(rows, tokens=800):
    """Prompts of which nothing is shared."""
    draw = random.Random(0)
    return [[draw.randrange(5, 300) for _ in range(tokens)] for _ in range(rows)]


def test_broken_weights_are_named(tiny):
    _, ids, tokenizer = tiny
    broken = common.load_model("tiny", "main").eval()
    with torch.no_grad():
        broken.model.layers[0].mlp.down_proj.weight[0, 0] = float("nan")
    for decoder in (Decoder(limit=4, temperature=1.0), GraphDecoder(limit=4, temperature=1.0)):
        with pytest.raises(NotFinite, match="NaN or infinite logits"):
            written(decoder, broken, ids, newline(tokenizer))


def test_helpers():
    assert common_prefix([[1, 2, 3], [1, 2, 4], [1, 2]]) == 2 and common_prefix([[1], [2]]) == 0
    rows = [Row([1], str), Row([2], str), Row([1], str)]
    assert [[row.prompt for row in place] for place in by_prompt(rows)] == [[[1], [1]], [[2]]]
    assert [rows_of(n) for n in (1, 8, 9, 64, 65)] == [8, 8, 16, 64, 128]
    assert padded([3, 4], 4) == [3, 4, 3, 3]
