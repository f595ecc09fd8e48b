"""A prompt rendered by the files alone is what transformers makes of it."""

import json

import pytest

pytest.importorskip("transformers", reason="needs transformers: nothing to be equal to")
from jinja2 import TemplateError
from transformers import AutoTokenizer

from components.lib.generation import prompts
from components.lib.model.template import Template
from components.lib.model.tokens import Counter, added_ids, named_tokens, special_tokens
from tests.fixtures.families import CLOSES, FAMILIES, make

SYSTEM, USER = {"role": "system", "content": "Be brief."}, {"role": "user", "content": " How many?\n"}
ANSWER = {"role": "assistant", "content": "<think>\nOne.\n</think>\n\n#### 1"}
CONVERSATIONS = ([USER], [SYSTEM, USER], [SYSTEM, USER, ANSWER], [USER, ANSWER, USER], [SYSTEM, USER, USER])
OTHERS = {
    "filters": "{{ messages | tojson }} {{ messages[0].content | upper | trim }}{{ messages[-1] | tojson(indent=2) }}",
    "loops": "{% for m in messages %}{% if loop.index > 1 %}{% break %}{% endif %}{{ m.content }}{% endfor %}",
    "spaces": "{% for m in messages %}\n    {% if true %}\n  {{ m.content }}\n    {% endif %}\n{% endfor %}\n",
    "namespaces": "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}",
    "tools": "{% if tools %}tools{% endif %}{% if documents is none %}none{% endif %}{{ dict(a=1)['a'] }}",
    "undefined": "{{ nothing.there }}{{ messages[0].content }}",
    "types": "{{ messages[0].content + 1 }}",
    "closes": CLOSES,
}
TEMPLATES = {family.name: (family.template, family.special, family.roles) for family in FAMILIES} | {
    name: (text, ("<|im_start|>", "<|im_end|>"), {"eos_token": "<|im_end|>"}) for name, text in OTHERS.items()
}


def saved(directory, name):
    template, special, roles = TEMPLATES[name]
    make(template, [*special, *dict.fromkeys(roles.values())], roles).save_pretrained(directory)
    return directory


def outcome(render, messages, **arguments):
    """The text, or the kind and the words of the error."""
    try:
        return render(messages, tokenize=False, **arguments)
    except Exception as error:
        return type(error), str(error)


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_renders_as_transformers_renders_it(name, tmp_path):
    tokenizer, template = AutoTokenizer.from_pretrained(saved(tmp_path, name)), Template(tmp_path)
    assert template.chat_template == tokenizer.chat_template
    texts = []
    for messages in CONVERSATIONS:
        for prompt in (True, False):
            for extra in ({}, prompts.TEMPLATE_ARGUMENTS, {"enable_thinking": False}):
                given = {"add_generation_prompt": prompt, **extra}
                texts.append(outcome(template.apply_chat_template, messages, **given))
                assert texts[-1] == outcome(tokenizer.apply_chat_template, messages, **given)
    assert len(set(texts)) > 1 or name in OTHERS
    whole = [text for text in texts if isinstance(text, str)]
    expected = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in whole]
    assert Counter(tmp_path).ids(whole) == expected


@pytest.mark.parametrize("name", [family.name for family in FAMILIES])
def test_special_tokens_are_those_that_transformers_knows(name, tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(saved(tmp_path, name))
    assert special_tokens(tmp_path) == set(tokenizer.all_special_tokens) | set(TEMPLATES[name][1])
    assert named_tokens(tmp_path) == {k: v for k, v in tokenizer.special_tokens_map.items() if isinstance(v, str)}
    assert added_ids(tmp_path) == tokenizer.get_added_vocab()


def test_a_template_is_found_wherever_it_is_written(tmp_path):
    special = TEMPLATES["qwen3"][1]
    make("", list(special), {"eos_token": "<|im_end|>"}).save_pretrained(tmp_path)
    assert Template(tmp_path).chat_template == ""
    path = tmp_path / "tokenizer_config.json"
    config = json.loads(path.read_text())

    def read():
        found = AutoTokenizer.from_pretrained(tmp_path).get_chat_template()
        assert Template(tmp_path).chat_template == found
        return found

    path.write_text(json.dumps(config | {"chat_template": "one"}))
    assert read() == "one"
    several = [{"name": "tool_use", "template": "two"}, {"name": "default", "template": "three"}]
    path.write_text(json.dumps(config | {"chat_template": several}))
    assert read() == "three"
    path.write_text(json.dumps(config | {"chat_template": several[:1]}))
    with pytest.raises(ValueError, match=r"chat templates tool_use and no default; write one to chat_template\.jinja"):
        Template(tmp_path)
    (tmp_path / "chat_template.jinja").write_text("four")
    assert read() == "four"


def test_a_template_cannot_reach_out_of_its_sandbox(tmp_path):
    (tmp_path / "chat_template.jinja").write_text("{{ messages.__class__.__mro__ }}")
    with pytest.raises(TemplateError, match="unsafe"):
        Template(tmp_path).apply_chat_template([USER])
