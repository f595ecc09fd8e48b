"""Every verb and stage command with a path that is not what it takes: status 2 and one line that names the path.

All in this process; the model of sft and grpo is opened by their worker alone, see tests/lib/training.
"""

import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import pipeline
from components.lib.files import write_json, write_jsonl
from components.lib.recipe import recipes
from components.lib.recipe.settings import to_json
from components.lib.registry.plan import Plan
from components.lib.streams import VARIABLES
from tests.conftest import saved_item
from tests.fixtures.releases import entry, write_model


def missing(path: Path) -> None:
    """Nothing is there."""


def dangling(path: Path) -> None:
    path.symlink_to(path.with_name("gone"))


def loop(path: Path) -> None:
    """What nobody can read, root neither."""
    path.symlink_to(path)


def empty(path: Path) -> None:
    path.touch()


def latin(path: Path) -> None:
    path.write_bytes("größe".encode("latin-1"))


def a_list(path: Path) -> None:
    path.write_text("[]\n")


def of_another_step(path: Path) -> None:
    path.write_text('{"nothing": 1}\n')


def folder(path: Path) -> None:
    path.mkdir()


def below_a_file(path: Path) -> Path:
    path.touch()
    return path / "below"


Make = Callable[[Path], Path | None]
NO_FILE: tuple[Make, ...] = (missing, dangling, loop, empty, latin, a_list, of_another_step, folder, below_a_file)
UNREADABLE: tuple[Make, ...] = (missing, dangling, loop, folder, below_a_file)  # of rows, which are refused one by one
NO_FOLDER: tuple[Make, ...] = (missing, dangling, loop, empty, folder, below_a_file)
NO_PLACE_FOR_A_FILE: tuple[Make, ...] = (folder, below_a_file)
NO_PLACE_FOR_A_FOLDER: tuple[Make, ...] = (empty, loop, below_a_file)

TEACH = "teach --url http://127.0.0.1:9 --model m --samples 1 --max-tokens 9 --requests-per-minute 9 --workers 1"
TRAIN = "--model tiny --revision main --seed 0 --model-out {out}/m --curves-out {out}/c"
EVALUATE = "evaluate --revision main --checkpoint base --seed 0"
PUSH = "push --run-id r --model {model} --evaluation {grpo} --results {results} --preflight {preflight}"
READ = {"--model": NO_FOLDER, "--evaluation": NO_FOLDER, "--results": NO_FILE, "--preflight": NO_FOLDER,
        "--data": NO_FOLDER, "--decision": (*UNREADABLE, empty, latin, a_list)}  # fmt: skip
REGISTRY = "--set registry={out}/registry"
# A command line in which PATH is wrong, while what is in braces is right -> what PATH is.
CASES: list[tuple[str, tuple[Make, ...]]] = [
    *((f"pipeline {verb} --recipe PATH.yaml", NO_FILE) for verb in ("run", "compile", "submit", "doctor")),
    ("pipeline schedule create x --recipe PATH.yaml", NO_FILE),
    ("pipeline recipe PATH.yaml", NO_FILE),
    ("pipeline recipe --diff tiny PATH.yaml", NO_FILE),
    ("pipeline run --output PATH", NO_PLACE_FOR_A_FOLDER),
    ("pipeline compile --output PATH.yaml", NO_PLACE_FOR_A_FILE),
    ("pipeline history --output {out}/page.html --registry PATH", NO_FOLDER),
    ("pipeline score PATH", (missing, dangling, loop, latin, a_list, of_another_step, folder, below_a_file)),
    ("pipeline score {jsonl} --output PATH", NO_PLACE_FOR_A_FILE),
    ("pipeline score {jsonl} --answers python:PATH.py", NO_FILE),
    ("pipeline ask --model PATH question", (missing, dangling, loop, empty, below_a_file)),
    (f"pipeline {TEACH} --output {{out}}/traces.jsonl --problems PATH",
     (missing, dangling, loop, latin, a_list, folder, below_a_file)),
    (f"pipeline {TEACH} --problems {{jsonl}} --output PATH", NO_PLACE_FOR_A_FILE),
    ("pipeline tiny --seed 0 --output PATH", NO_PLACE_FOR_A_FOLDER),
    ("preflight --output {out} --recipe PATH.yaml", NO_FILE),
    (f"preflight --output PATH {REGISTRY}", NO_PLACE_FOR_A_FOLDER),
    ("preflight --output {out} --set registry=PATH", (empty, loop, below_a_file)),
    (f"preflight --output {{out}} {REGISTRY} --set model=PATH", NO_FOLDER),
    (f'preflight --output {{out}} {REGISTRY} --set sources=[{{"path":"PATH.jsonl"}}]', UNREADABLE),
    (f"preflight --output {{out}} {REGISTRY} --set checkpoints=PATH", (empty, loop, below_a_file)),
    ("sample --out {out} --set problems=1 --plan PATH", NO_FILE),
    ("sample --plan {preflight}/plan.json --set problems=1 --out PATH", NO_PLACE_FOR_A_FOLDER),
    ("sample --plan {preflight}/plan.json --set problems=1 --out {out} --checkpoints PATH", NO_PLACE_FOR_A_FOLDER),
    ("standardize --output {out} --recipe PATH.yaml", NO_FILE),
    ("standardize --output {out} --evaluation {jsonl} --sources PATH", NO_FILE),
    ("standardize --output {out} --sources {sources} --evaluation PATH.jsonl", NO_FILE),
    ("standardize --sources {sources} --evaluation {jsonl} --output PATH", NO_PLACE_FOR_A_FOLDER),
    ("standardize inspect PATH.jsonl", UNREADABLE),
    *((f"{step} {TRAIN} --data PATH", (missing, dangling, loop, empty, below_a_file)) for step in ("sft", "grpo")),
    *((f"sft {TRAIN} --data {{data}} {flag} PATH", NO_PLACE_FOR_A_FOLDER)
      for flag in ("--checkpoints", "--model-out", "--curves-out")),
    (f"{EVALUATE} --model tiny --out {{out}} --data PATH", (missing, dangling, loop, empty, below_a_file)),
    (f"{EVALUATE} --out {{out}} --data {{data}} --model PATH", NO_FOLDER),
    (f"{EVALUATE} --model tiny --data {{data}} --out PATH", NO_PLACE_FOR_A_FOLDER),
    ("evaluate.champion --version v1 --candidate {base} --data {data} --seed 0 --registry PATH", NO_FOLDER),
    ("evaluate.champion --version v1 --registry {registry} --data {data} --seed 0 --candidate PATH",
     (missing, dangling, loop, below_a_file)),
    ("compare --output {out} --evaluations base=PATH", NO_FOLDER),
    ("compare --output {out} --evaluations base={base} --curves sft=PATH", NO_FOLDER),
    ("compare --evaluations base={base} --output PATH", NO_PLACE_FOR_A_FOLDER),
    ("gate --candidate {grpo} --registry {registry} --decision-out {out}/d.json --base PATH", NO_FOLDER),
    ("gate --base {base} --registry {registry} --decision-out {out}/d.json --candidate PATH", NO_FOLDER),
    ("gate --base {base} --candidate {grpo} --registry {registry} --decision-out PATH", NO_PLACE_FOR_A_FILE),
    *((f"{PUSH} {flag} PATH", kinds) for flag, kinds in READ.items()),
    ("notify --state FAILED --run-id r --registry PATH", (empty, loop, below_a_file)),
]  # fmt: skip


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each name in braces stands for."""
    root = tmp_path_factory.mktemp("right")
    names = ("out", "registry", "preflight", "data", "model")
    places = {name: root / name for name in names}
    for place in places.values():
        place.mkdir()
    plan = Plan(model="tiny", revision="main", sources=recipes.TINY.sources, evaluation=recipes.TINY.evaluation, seed=0)
    recipe = recipes.override(recipes.TINY, {"registry": str(root / "registry")})
    (root / "preflight" / "plan.json").write_text(plan.text())
    (root / "preflight" / "recipe.json").write_text(to_json(recipe))
    (root / "preflight" / "fingerprint.txt").write_text("f")
    write_model(root / "model", seed=0)
    row = {"id": "a", "question": "1+1?", "gold": "2", "completion": "#### 2", "answer": "#### 2"}
    write_jsonl(root / "rows.jsonl", [row])
    write_json(root / "sources.json", [{"path": str(root / "rows.jsonl"), "adapter": "gsm8k"}])
    for name in ("base", "grpo"):
        asked = [(split, number) for split in ("evaluation", "gate") for number in (1, 2)]
        items = [saved_item(name, split, "zero-shot", number, number == 1) for split, number in asked]
        write_jsonl(root / name / "items.jsonl", items)
        write_json(root / name / "summary.json", {})
    write_json(root / "results.json", {"results": [entry("grpo", 0.5)]})
    more = {"jsonl": "rows.jsonl", "sources": "sources.json", "results": "results.json", "base": "base", "grpo": "grpo"}
    return {name: str(root / name) for name in names} | {name: str(root / path) for name, path in more.items()}


@pytest.fixture(autouse=True)
def told(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in {**VARIABLES, "TEACHER_API_KEY": "k", "KF_PIPELINES_ENDPOINT": "http://127.0.0.1:9"}.items():
        monkeypatch.setenv(name, value)
    yield


def status_of(words: list[str], monkeypatch: pytest.MonkeyPatch) -> int:
    """The exit status of a command line."""
    name, *arguments = words
    if name == "pipeline":
        return pipeline.main(arguments)
    module = f"components.{name}"
    for imported in (f"{module}.__main__", "components.evaluate.champion"):  # by another test, of which runpy warns
        monkeypatch.delitem(sys.modules, imported, raising=False)
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(module, run_name="__main__")
    return int(ended.value.code or 0)


@pytest.mark.parametrize(
    "line",
    ["pipeline recipe PATH.yaml", f"preflight --output {{out}} {REGISTRY} --set model=PATH", "standardize inspect PATH",
     "pipeline score {jsonl} --answers python:PATH.py"],
)  # fmt: skip
def test_the_home_of_nobody_is_a_path_that_is_not_there(line, right, monkeypatch, capsys) -> None:
    words = line.format(**right).replace("PATH", "~nobody-of-this-name/place").split()
    assert status_of(words, monkeypatch) == 2
    said = capsys.readouterr().err
    assert "~nobody-of-this-name/place" in said and said.count("\n") == 1


@pytest.mark.parametrize(("line", "make"), [
    pytest.param(line, make, id=f"{line}-{make.__name__}") for line, kinds in CASES for make in kinds
])  # fmt: skip
def test_a_wrong_path_is_one_line_that_names_it(line, make, right, tmp_path, monkeypatch, capsys) -> None:
    suffix = next((ending for ending in (".yaml", ".jsonl", ".py") if f"PATH{ending}" in line), "")
    path = tmp_path / f"place{suffix}"
    path = make(path) or path
    for name, value in right.items():
        line = line.replace(f"{{{name}}}", value)
    words = [word.replace(f"PATH{suffix}", str(path)) for word in line.split()]
    assert status_of(words, monkeypatch) == 2
    said = capsys.readouterr().err.strip()
    assert str(tmp_path / "place") in said and said.count("\n") == 0 and "Traceback" not in said, said
