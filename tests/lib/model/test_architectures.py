"""Which models can be trained is known without transformers, and says what the pinned transformers says."""

import ast
import importlib.util
import re
from importlib.metadata import version
from pathlib import Path

import pytest

from components.lib.files import read_json
from components.lib.generation.loading import CACHES
from components.lib.model.architectures import KNOWN, check_architecture

KINDS = ("llama", "qwen2", "qwen3", "gpt2", "gemma", "gemma2", "mistral", "mixtral", "phi3", "gpt_neox", "opt", "olmo2",
         "lfm2", "bloom", "qwen3_5", "qwen3_5_text")  # fmt: skip


def constant(path: Path, name: str) -> dict[str, str]:
    """The OrderedDict of a module of transformers, read without importing it: with all models that takes 40 s."""
    for node in ast.parse(path.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and ast.unparse(node.targets[0]) == name:
            return dict(ast.literal_eval(node.value.args[0]))
    raise AssertionError(f"{path} has no {name}")


def own_caches(origin: str) -> list[str]:
    """Parts of the names of classes for which transformers' generate makes no cache of the usual kind."""
    text = Path(origin).with_name("generation").joinpath("utils.py").read_text("utf-8")
    return re.findall(r'"(\w+)"', text.partition("unsupported_model_names = (")[2].partition(")")[0])


def keeps_its_own(name: str, body: str, own: list[str]) -> bool:
    """Whether a class takes none of the arguments by which a model goes on from what it has read."""
    named = any(part in name.lower() for part in own) and not re.search("minimaxm[23]", name.lower())
    return named or ("def forward" in body and not any(argument in body for argument in CACHES))


def test_the_list_is_that_of_the_installed_transformers():
    found = importlib.util.find_spec("transformers")
    if not found or not found.origin:
        pytest.skip("needs transformers: the list of models is not compared")
    models = Path(found.origin).parent / "models"
    classes = constant(models / "auto" / "modeling_auto.py", "MODEL_FOR_CAUSAL_LM_MAPPING_NAMES")
    configured = constant(models / "auto" / "auto_mappings.py", "CONFIG_MAPPING_NAMES")
    causal = sorted(set(classes) & set(configured))
    parts = [re.split(r"^class (\w+)", path.read_text("utf-8"), flags=re.M) for path in models.glob("*/modeling_*.py")]
    bodies = {name: body for part in parts for name, body in zip(part[1::2], part[2::2], strict=True)}
    encoders = [kind for kind in causal if "is_decoder=True" in bodies[classes[kind]]]
    stateful = [
        kind for kind in causal if keeps_its_own(classes[kind], bodies[classes[kind]], own_caches(found.origin))
    ]
    known = {"transformers": version("transformers"), "encoders": encoders, "stateful": stateful, "causal": causal}
    assert read_json(KNOWN) == known, "write these to architectures.json"


@pytest.mark.parametrize("kind", KINDS)
def test_the_usual_families_pass_with_and_without_code_of_their_own(kind):
    check_architecture({"model_type": kind}, "m")
    check_architecture({"model_type": kind, "auto_map": {"AutoModelForCausalLM": "modeling.M"}}, "m")


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "names no model_type"),
        ({"model_type": "t5", "is_encoder_decoder": True}, "'t5' is no causal language model of transformers 5.23.0"),
        ({"model_type": "bart", "is_encoder_decoder": True}, "'bart' is an encoder with a decoder"),
        ({"model_type": "bert"}, "'bert' is an encoder"),
        ({"model_type": "xlm-roberta", "is_decoder": False}, "'xlm-roberta' is an encoder"),
        ({"model_type": "deberta-v2"}, "'deberta-v2' is no causal language model"),
        ({"model_type": "rwkv"}, "'rwkv' keeps what it has read in a way of its own"),
        ({"model_type": "minimax"}, "'minimax' keeps what it has read in a way of its own"),
        ({"model_type": "llava"}, "'llava' is no causal language model"),
        ({"model_type": "llama9"}, "'llama9' is no causal language model of transformers 5.23.0"),
        ({"model_type": "qwen", "auto_map": {"AutoConfig": "configuration.C"}}, "brings code of its own .*never run"),
    ],
)
def test_what_cannot_be_trained_is_named(config, said):
    with pytest.raises(ValueError, match=said) as error:
        check_architecture(config, "lab/model")
    assert "'lab/model'" in str(error.value) and "\n" not in str(error.value)


def test_an_encoder_that_was_made_a_decoder_passes():
    check_architecture({"model_type": "bert", "is_decoder": True}, "m")
