"""The commands of the documents are ones that this repository has."""

import re
import shlex

import pytest

import pipeline
from components.lib.recipe import selection
from tests import ROOT

DOCUMENTS = ("README.md", "CONTRIBUTING.md", "docs/cluster.md", "docs/troubleshooting.md", "benchmarks/images.md")
GOES_ON = "\\"
COMMAND = re.compile(r" {4,}(?:\.venv/bin/)?python pipeline\.py (.+)")


def commands(document):
    """The words of each command of a document, which may go on for lines."""
    lines = iter((ROOT / document).read_text().splitlines())
    for line in lines:
        if found := COMMAND.match(line):
            text = found[1]
            while (words := split(text)) is None:
                text = f"{text.removesuffix(GOES_ON)}\n{next(lines)}"
            yield words


def split(text):
    """The words of a command, None if it is not whole yet."""
    try:
        return None if text.endswith(GOES_ON) else shlex.split(text, comments=True)
    except ValueError:  # a quotation is open
        return None


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_verb_and_setting_exists(document):
    for words in commands(document):
        arguments = pipeline.parser().parse_args(words)
        if "recipe" in arguments:
            assert selection.chosen(arguments.recipe, arguments.set)


def test_the_pattern_finds_the_commands():
    assert {words[0] for words in commands("docs/cluster.md")} == {"doctor", "submit", "compile", "schedule"}
    assert any(len(words) > 6 for words in commands("README.md")), "one of its commands goes on for lines"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_target_of_make_and_every_path_of_manifests_exists(document):
    text = (ROOT / document).read_text()
    targets = re.findall(r"^([a-z.-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert set(re.findall(r"^ {4}make ([a-z-]+)", text, re.MULTILINE)) <= set(targets)
    ours = re.sub(r"github\.com/\S+", "", text)
    for path in re.findall(r"\bmanifests/[a-z0-9./-]+[a-z0-9]", ours):
        assert (ROOT / path).exists(), path


def test_recipes_of_a_cluster_have_registries_of_their_own():
    """Else one would have to beat the other's champion."""
    parsed = [pipeline.parser().parse_args(words) for words in commands("docs/cluster.md")]
    recipes = [selection.chosen(arguments.recipe, arguments.set) for arguments in parsed]
    used = {(recipe.registry, recipe.name) for recipe in recipes if recipe.registry}
    assert len(used) == len(dict(used)) == 2, used
