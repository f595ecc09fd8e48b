"""Which tokens end a completion is one answer, wherever a model says it."""

import json

import pytest

pytest.importorskip("transformers", reason="needs transformers: no tokenizer is made")
from components.lib.generation.decode import Text
from components.lib.generation.loading import load_tokenizer, token_id
from components.lib.model.ends import ends_of, turn_end
from tests.fixtures.families import CHATML, DROPS, PHI3, make

SPECIAL = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|end|>"]  # ids 0 to 3
END, TEXT, OTHER = 1, 2, 3


@pytest.mark.parametrize(
    ("template", "eos", "generation", "config", "taught", "ids", "ignored"),
    [
        (CHATML, "<|im_end|>", None, None, "<|im_end|>", (END,), ()),
        (CHATML, "<|im_end|>", END, END, "<|im_end|>", (END,), ()),
        (CHATML, "<|endoftext|>", None, None, "<|im_end|>", (END, TEXT), ()),
        (CHATML, "<|endoftext|>", TEXT, None, "<|im_end|>", (END, TEXT), ()),
        (CHATML, "<|im_end|>", None, [TEXT, OTHER], "<|im_end|>", (END, TEXT, OTHER), ()),
        (CHATML, "<|im_end|>", OTHER, TEXT, "<|im_end|>", (END, OTHER, TEXT), ()),
        (CHATML, None, None, None, "<|im_end|>", (END,), ()),
        (PHI3, "<|endoftext|>", [TEXT, END], None, "<|end|>", (OTHER, TEXT, END), ()),
        (DROPS, "<|endoftext|>", None, None, "<|endoftext|>", (TEXT,), ()),
        ("{{ messages[-1].content }}", "<|endoftext|>", END, None, "<|endoftext|>", (TEXT, END), ()),
        ("{{ messages[-1].content }}", None, None, OTHER, "<|end|>", (OTHER,), ()),
        ("{{ raise_exception('no') }}", "<|im_end|>", None, None, "<|im_end|>", (END,), ()),
        ("", "<|im_end|>", None, None, "<|im_end|>", (END,), ()),
        (CHATML, "<|im_end|>", 40, [50, TEXT], "<|im_end|>", (END, TEXT), (40, 50)),  # ids of ordinary text
        (CHATML, "<|im_end|>", 9999, None, "<|im_end|>", (END,), (9999,)),
    ],
)
def test_ends_are_collected_from_every_place(template, eos, generation, config, taught, ids, ignored, tmp_path):
    make(template, SPECIAL, {"eos_token": eos} if eos else {}).save_pretrained(tmp_path)
    for name, value in (("generation_config", generation), ("config", config)):
        if value is not None:
            (tmp_path / f"{name}.json").write_text(json.dumps({"eos_token_id": value}))
    found = ends_of(tmp_path)
    assert (found.taught, found.ids, found.ignored) == (taught, ids, ignored)
    if template:
        tokenizer = load_tokenizer(tmp_path)
        assert tokenizer.eos_token_id in ids and tokenizer.pad_token_id is not None


def test_the_text_model_of_a_vision_language_checkpoint_has_ends_too(tmp_path):
    make(CHATML, SPECIAL, {"eos_token": "<|im_end|>"}).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"text_config": {"eos_token_id": TEXT}}))
    assert ends_of(tmp_path).ids == (END, TEXT)


def test_a_model_without_any_end_is_refused(tmp_path):
    make("{{ messages[-1].content }}", SPECIAL, {}).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"names no token that ends a completion.*set eos_token"):
        ends_of(tmp_path)


@pytest.mark.parametrize("after", ["\n<|im_end|>", " <|im_end|>\n", "<|im_end|>"])
def test_white_space_may_stand_before_the_end_of_a_turn(after, tmp_path):
    text = CHATML.replace("{{ m.content }}<|im_end|>\n", "{{ m.content }}" + after)
    make(text, SPECIAL, {}).save_pretrained(tmp_path)
    assert turn_end(tmp_path) == "<|im_end|>"


def test_the_id_of_an_unknown_token_is_nobodys(tmp_path):
    """As in GPT-2's vocabulary, where the unknown token is the end: a think tag looked up gave the end."""
    roles = {"eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    make(CHATML, SPECIAL, roles).save_pretrained(tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    assert tokenizer.convert_tokens_to_ids("<think>") == TEXT
    assert token_id(tokenizer, "<think>") is None and token_id(tokenizer, "<|endoftext|>") == TEXT
    text = Text(tokenizer, {TEXT})
    ids = tokenizer("<think>\nOne.\n</think>\n\n#### 1<|endoftext|>", add_special_tokens=False)["input_ids"]
    assert text.decode(ids) == "<think>\nOne.\n</think>\n\n#### 1"
