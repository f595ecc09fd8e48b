"""Every command of the documents is run by a test, or there is a reason why not; and all of them are accepted."""

import argparse
import importlib.util
import re
import runpy
import subprocess
import sys
from unittest import mock

import pytest

from components.lib.recipe import recipes, selection
from tests import ROOT
from tests.fixtures.documents import Command, commands_of

DOCUMENTS = ["README.md", "CONTRIBUTING.md", *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/*.md"))]
CLUSTER, NODE, SUITE = "needs a cluster", "changes the machine", "runs the tests themselves"
# Beginning of a simple command -> the test that runs it at a small size, or why none does. The first that fits counts.
WHY = {
    r"(\S*/)?python pipeline\.py run .*qwen": "tests/pipeline/test_hub_recipe.py",
    r"(\S*/)?python pipeline\.py run": "tests/pipeline/test_end_to_end.py",
    r"(\S*/)?python pipeline\.py (compile|recipe)": "tests/test_pipeline.py",
    r"(\S*/)?python pipeline\.py study": "tests/lib/study/test_runs.py",
    r"(\S*/)?python pipeline\.py score": "tests/lib/answers/test_score.py",
    r"(\S*/)?python pipeline\.py ask": "tests/pipeline/test_end_to_end.py",
    r"(\S*/)?python pipeline\.py teach": "tests/lib/data/test_teacher.py",
    r"(\S*/)?python pipeline\.py convert": "tests/lib/generation/test_convert.py",
    r"(\S*/)?python pipeline\.py tiny": "makes the embedded model anew, for minutes",
    r"(\S*/)?python pipeline\.py doctor --model": "tests/lib/model/test_fit.py",
    r"(\S*/)?python pipeline\.py unlock": "tests/lib/cluster/test_unlock.py",
    r"(\S*/)?python pipeline\.py (submit|schedule|doctor|follow)": CLUSTER,
    r"(\S*/)?python -m components\.push\.register": "tests/push/test_register.py",
    r"(\S*/)?python -m components\.standardize": "tests/standardize/test_standardize.py",
    r"(\S*/)?python -m components\.(preflight|sft|evaluate)": "tests/pipeline/test_stages.py",
    r"(\S*/)?python -m components\.\S+ --help": "tests/lib/test_command.py",
    r"(\S*/)?python -m benchmarks\.gpu": "tests/benchmarks/test_gpu.py",
    r"make demo MODEL=smollm2-135m": "tests/pipeline/test_smollm2.py",
    r"make demo": "tests/pipeline/test_demo.py",
    r"make picture": "tests/lib/reporting/test_picture.py",
    r"make image": "tests/test_makefile.py",
    r"make (test|check)|(\S*/)?python -m pytest": SUITE,
    r"make (\.venv/ready|minio|live|lm-eval-table|lock|format|docs)|\S*pre-commit install": NODE,
    r"kubectl|apply|ours|key|kfp": CLUSTER,
    r"docker|sudo|curl|kubeadm|k3s|nvidia-": NODE,
    r"export|\.": "sets variables of the shell",
    r"echo|sed|base64|openssl|sh|cd": "is a part of another command",
}
ALL = [command for document in DOCUMENTS for command in commands_of(document)]
PARTS = [(command, words) for command in ALL for words in command.parts()]


def complain(found: list[tuple[Command, str]]) -> None:
    """Fail with document, line and text of each command that is not as it should be."""
    assert not found, "\n".join(f"{command.place}: {command.text}\n    {why}" for command, why in found)


def test_every_command_is_run_by_a_test_or_says_why_not():
    used, unknown = set(), []
    for command, words in PARTS:
        text = " ".join(words)
        if why := next((pattern for pattern in WHY if re.match(rf"(?:{pattern})", text, re.DOTALL)), None):
            used.add(why)
        else:
            unknown.append((command, f"{text!r}: no test and no reason; add it to WHY in tests/test_docs.py"))
    complain(unknown)
    assert used == set(WHY), "patterns of WHY that no command needs any more"
    assert all((ROOT / why).exists() for why in WHY.values() if why.startswith("tests/"))


def test_every_command_of_ours_is_accepted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = []
    for command, words in PARTS:
        words = [word.replace("STEP", "sft") for word in words]
        mentioned = command.inline and ours(words) and not [word for word in words[2:] if word.startswith("-")]
        if why := refusal([*words, "--help"] if mentioned else words):
            found.append((command, why))
    complain(found)


def test_every_setting_in_a_command_or_between_backticks_exists():
    """Names of the settings alone; values may be written as N or NAME."""
    fields, unknown = recipes.flat_fields(), []
    for document in DOCUMENTS:
        for number, line in enumerate((ROOT / document).read_text().splitlines(), 1):
            names = re.findall(r"--set[ =]([a-z_]\w*)=", line) + re.findall(r"`([a-z]+_[a-z_]+)=[^`]*`", line)
            step = re.search(r"-m components\.(\w+)", line)
            unknown += [
                f"{document}:{number}: no setting {name}"
                for name in names
                if name not in fields and not (step and f"{step[1]}_{name}" in fields)
            ]
    assert not unknown, "\n".join(unknown)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_exists(document):
    text = re.sub(r"github\.com/\S+", "", (ROOT / document).read_text())
    paths = set(re.findall(r"(?<![\w/.-])(?:manifests|components|tests|images|benchmarks|docs)/[\w./-]*\w", text))
    assert not [path for path in paths if not (ROOT / path).exists()]


def test_recipes_of_a_cluster_have_registries_of_their_own():
    """Else one would have to beat the other's champion."""
    found = [chosen(words) for command, words in PARTS if command.document == "docs/cluster.md" and ours(words)]
    used = {(recipe.registry, recipe.name) for recipe in found if recipe and recipe.registry}
    assert len(used) == len(dict(used)) == 2, used


def test_the_machinery_finds_what_it_must(tmp_path):
    """Commands that go on, fences, comments, several on a line, inline ones over two lines; neither JSON nor prose."""
    (tmp_path / "page.md").write_text(
        "Type `make\n    x`? No: `make\ntest` or `A=1 python pipeline.py run`, not `make`.\n\n    # only a comment\n"
        "    cd x && A=2 kubectl apply -f - | sed 's/a/b/' > y   # why\n    f() { echo \\\n      '1\n    2'; }\n\n"
        'JSON:\n\n    [{"a": 1}]\n\n```json\n{}\n```\n\n- an item\n```sh\nkfp run list\n```\n'
    )
    found = list(commands_of(str(tmp_path / "page.md")))
    assert [(command.line, list(command.parts())) for command in found] == [
        (6, [["cd", "x"], ["kubectl", "apply", "-f", "-"], ["sed", "s/a/b/"]]),
        (7, [["f"], ["echo", "1\n2"]]),
        (21, [["kfp", "run", "list"]]),
        (1, [["make", "x"]]),
        (2, [["make", "test"]]),
        (3, [["python", "pipeline.py", "run"]]),
    ]


def test_what_is_wrong_is_refused():
    assert "invalid choice: 'rum'" in refusal(["python", "pipeline.py", "rum"])
    assert "nonsense=1" in refusal(["python", "pipeline.py", "run", "--output", "out", "--set", "nonsense=1"])
    assert "required: --plan" in refusal(["python", "-m", "components.sample", "--out", "x"])
    assert "components.nothing" in refusal(["python", "-m", "components.nothing"])
    assert "nonsense" in refusal(["make", "nonsense"])


def ours(words):
    """Whether it is a command line whose parser is in this repository and quick to ask."""
    return words[0].endswith("python") and " ".join(words[1:3]).startswith(("pipeline.py", "-m components."))


def refusal(words):
    """What a command of ours has against its words, empty if nothing, or if it is another program's."""
    if words[0] == "make":
        given = [*words, "TAG=docs"] if "image" in words else words
        done = subprocess.run([*given, "--dry-run"], cwd=ROOT, capture_output=True, text=True)
        return done.stderr if done.returncode else ""
    if not ours(words):
        return ""
    try:
        chosen(words)
    except (ValueError, ImportError, Refused) as error:
        return str(error)
    return ""


class Parsed(Exception):
    """Ends a program when it has read its command line."""


class Refused(Exception):
    """What a parser says of a command line that it does not take."""


def parsed(words):
    """The arguments of a command as its own parser reads them; None if it only asks for help."""
    path = ROOT / "pipeline.py"
    if words[1] == "-m":
        spec = importlib.util.find_spec(words[2])
        if spec and spec.submodule_search_locations:
            spec = importlib.util.find_spec(f"{words[2]}.__main__")
        if spec is None:
            raise ImportError(f"there is no module {words[2]} to be run")
        path = spec.origin
    read = argparse.ArgumentParser.parse_args

    def parse_args(parser, arguments=None, namespace=None):
        raise Parsed(read(parser, arguments, namespace))

    def error(parser, message):
        raise Refused(message)

    argv = [str(path), *words[3 if words[1] == "-m" else 2 :]]
    patches = {"parse_args": parse_args, "error": error}
    with mock.patch.multiple(argparse.ArgumentParser, **patches), mock.patch.object(sys, "argv", argv):
        try:
            runpy.run_path(str(path), run_name="__main__")
        except Parsed as found:
            return found.args[0]
        except SystemExit as end:
            assert end.code == 0, f"{words} ends with {end.code}"
    return None


def chosen(words):
    """The recipe that a command of ours chooses, with its changes; None if it takes none, or one from a file."""
    arguments, step = parsed(words), words[2].removeprefix("components.") if words[1] == "-m" else ""
    if getattr(arguments, "recipe", None) not in recipes.RECIPES:
        return None
    known = {text: text.partition("=")[0] in recipes.flat_fields() for text in getattr(arguments, "set", ())}
    return selection.chosen(arguments.recipe, [text if known[text] or not step else f"{step}_{text}" for text in known])
