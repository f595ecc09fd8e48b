"""The embedded models: each lies where its name says, and is of its size."""

import argparse

import pytest

import pipeline
from components.lib.model.files import config_of, model_directory, weights_bytes
from components.lib.model.names import EMBEDDED


def test_each_embedded_model_is_of_its_size():
    widths = {name: config_of(name, "")["hidden_size"] for name in EMBEDDED}
    assert widths == {"tiny": 128, "tiny-small": 64}
    assert {model_directory(name, "").name for name in EMBEDDED} == {"base", "small"}
    assert weights_bytes("tiny-small") < weights_bytes("tiny") / 2


def test_the_verb_knows_the_sizes(capsys):
    verb = argparse.ArgumentParser()
    pipeline._tiny(verb)
    assert verb.parse_args(["--output", "x", "--seed", "0", "--size", "tiny-small"]).size == "tiny-small"
    with pytest.raises(SystemExit):
        verb.parse_args(["--output", "x", "--seed", "0", "--size", "huge"])
    assert "invalid choice: 'huge'" in capsys.readouterr().err
