"""Push to a directory registry: the release tree, the champion, doing it again, and being interrupted."""

import hashlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import DatasetCard, ModelCard

from components.gate.gate import champion_items
from components.lib.files import read_json, read_jsonl, sha256, write_json, write_jsonl
from components.lib.model.files import model_directory
from components.lib.recipe.checkers import packed
from components.lib.recipe.recipes import QWEN
from components.lib.recipe.schema import Source
from components.lib.recipe.settings import replace, to_json
from components.lib.registry import lock
from components.lib.registry.champion import read_champion
from components.lib.registry.outcome import write_outcome
from components.lib.registry.store import open_store
from components.push import push as pushing
from components.push.push import push
from tests.fixtures.outcomes import outcome
from tests.fixtures.releases import entry, make_run


def snapshot(directory: Path) -> dict[str, Any]:
    """Every file but the lock and its mark on the champion, with hash and time: equal only if nothing was written."""
    files = (path for path in directory.rglob("*") if path.is_file() and path.parent.name not in ("lock", "champion"))
    return {str(path): (sha256(path), path.stat().st_mtime_ns) for path in files}


def test_a_push_makes_a_release_and_a_champion(tmp_path: Path) -> None:
    run = make_run(tmp_path, registry=str(tmp_path / "registry"))
    pushed = push(**run)
    tree = Path(pushed["location"])
    names = {path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file()}
    assert names == {
        "README.md", ".eval_results/gsm8k.yaml", "chat_template.jinja", "config.json", "generation_config.json",
        "tokenizer.json", "tokenizer_config.json", "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors", "model.safetensors.index.json", "evaluation/items.jsonl",
        "evaluation/gate.jsonl", "results.json", "provenance.json", "manifest.json",
    }  # fmt: skip
    assert read_json(tree / "config.json")["dtype"] == "bfloat16"
    champion = read_champion(open_store(str(tmp_path / "registry")))
    assert (champion["version"], champion["run_id"], champion["fingerprint"]) == (
        pushed["version"],
        "run-0",
        "fingerprint-0",
    )
    items = champion_items(open_store(run["registry"]), champion, tmp_path / "none", tmp_path)
    assert {row["split"] for row in read_jsonl(items)} == {"gate"}


def test_the_card_says_where_the_model_comes_from_and_what_it_scored(tmp_path: Path) -> None:
    pushed = push(**make_run(tmp_path, registry=str(tmp_path / "registry")))
    card = ModelCard.load(Path(pushed["location"]) / "README.md")
    data = card.data
    assert (data.base_model, data.base_model_relation) == ("Qwen/Qwen3.5-0.8B", "finetune")
    assert "openai/gsm8k" in data.datasets and "TeichAI/claude-4.5-opus-high-reasoning-250x" in data.datasets
    assert (data.license, data.library_name, data.pipeline_tag) == ("apache-2.0", "transformers", "text-generation")
    (result,) = data.eval_results
    assert (result.dataset_type, result.dataset_config, result.dataset_split) == ("openai/gsm8k", "main", "test")
    assert (result.metric_type, result.metric_value) == ("accuracy", 0.6)
    assert "| grpo | zero-shot | 100 | 60.0% | 50.0% to 70.0% | 1e-06 |" in re.sub(" +", " ", card.text)
    for part in ("enable_thinking=True", "You are a careful problem solver", "## Limits", "`" + "c" * 40 + "`"):
        assert part in card.text
    compile(card.text.split("```python\n")[1].split("```")[0], "card", "exec")


def test_card_and_provenance_name_a_checker_by_its_hash(tmp_path: Path) -> None:
    code = "def check(completion, row):\n    return True\n"
    run = make_run(tmp_path, registry=str(tmp_path / "registry"))
    run["plan"] = replace(run["plan"], checkers={"python:own.py": packed(code)})
    tree, digest = Path(push(**run)["location"]), hashlib.sha256(code.encode()).hexdigest()
    assert (
        f"`python:own.py` were judged by a checker of the user's own, `sha256:{digest}`"
        in (tree / "README.md").read_text()
    )
    assert read_json(tree / "provenance.json")["plan"]["checkers"] == {"python:own.py": f"sha256:{digest}"}


GSM8K = replace(QWEN.evaluation[0], revision="d" * 40)
MINE = Source(path="lab/mine", name="mine", revision="e" * 40)


@pytest.mark.parametrize(
    ("evaluation", "problems", "whole"),
    [
        ((GSM8K,), 0, True),
        ((GSM8K,), 100, False),
        ((replace(GSM8K, split="train"),), 0, False),
        ((replace(GSM8K, cap=100),), 0, False),
        ((replace(GSM8K, weight=0.5),), 0, False),
        ((GSM8K, MINE), 0, False),
    ],
)
def test_only_the_whole_benchmark_alone_is_a_score_of_it(tmp_path: Path, evaluation: Any, problems: int, whole: bool):
    run = make_run(tmp_path, registry=str(tmp_path / "registry"))
    recipe = replace(QWEN, evaluate=replace(QWEN.evaluate, problems=problems))
    run |= {"plan": replace(run["plan"], evaluation=evaluation), "recipe": to_json(recipe)}
    tree = Path(push(**run)["location"])
    assert (tree / ".eval_results" / "gsm8k.yaml").exists() == whole
    (result,) = ModelCard.load(tree / "README.md").data.eval_results
    assert result.dataset_type == ", ".join(source.path for source in evaluation)


@pytest.mark.parametrize(
    ("name", "revision", "on_hub"),
    [
        ("lab/olmo", "c" * 40, True),
        ("models/olmo", "sha256:0123456789abcdef", False),  # a folder that is called as a stranger's repository
        ("openai/gsm8k", "sha256:0123456789abcdef", False),
        ("/home/me/olmo", "sha256:0123456789abcdef", False),
        ("tiny", "sha256:0123456789abcdef", False),
        ("s3://lab/olmo", "etag:0123456789abcdef0123456789abcdef", False),
        ("lab/a--b", "c" * 40, False),  # no name that the Hub takes
    ],
)
def test_a_released_card_names_no_strangers_repository(tmp_path: Path, name: str, revision: str, on_hub: bool) -> None:
    run = make_run(tmp_path, registry=str(tmp_path / "registry"))
    source = replace(GSM8K, path=name, revision=revision)
    plan = replace(run["plan"], model=name, revision=revision, sources=(source,), evaluation=(source,))
    origin = {"source": source.name, "licence": "mit", "revision": revision}
    write_jsonl(tmp_path / "data" / "sft.jsonl", [{"id": "1", "messages": [], **origin}])
    pushed = push(**run | {"plan": plan, "data": tmp_path / "data"})
    card = ModelCard.load(Path(pushed["location"]) / "README.md")
    data = DatasetCard.load(tmp_path / "registry" / "datasets" / pushed["data"] / "README.md").data
    named = name if on_hub else None
    assert card.data.base_model == named and ("base_model_relation" in card.data.to_dict()) == on_hub
    assert card.data.datasets == data.source_datasets == ([name] if on_hub else None)
    (result,) = card.data.eval_results
    assert result.dataset_type == (name if on_hub else "other")
    assert result.dataset_revision == (revision if on_hub else None)
    assert not (Path(pushed["location"]) / ".eval_results").exists()
    assert f"`{name if on_hub or 's3:' in name else Path(name).name}`" in card.text, "people are told"


@pytest.mark.parametrize(
    ("licences", "told"),
    [
        (["mit", "mit"], ("mit", None)),
        (["mit", "apache-2.0"], ("other", "by-source")),
        (["unknown", "unknown"], ("unknown", None)),
        (["other"], ("other", "by-source")),
    ],
)
def test_both_cards_have_a_licence_and_its_name(tmp_path: Path, licences: list[str], told: tuple[str, str]) -> None:
    run = make_run(tmp_path, registry=str(tmp_path / "registry"))
    run["settings"] = replace(run["settings"], licence="other", licence_name="mine-1.0")
    rows = [{"id": f"{n}", "source": f"{n}", "revision": "r", "licence": name} for n, name in enumerate(licences)]
    write_jsonl(tmp_path / "data" / "sft.jsonl", rows)
    pushed = push(**run | {"data": tmp_path / "data"})
    card = ModelCard.load(Path(pushed["location"]) / "README.md").data
    assert (card.license, card.license_name) == ("other", "mine-1.0")
    data = DatasetCard.load(tmp_path / "registry" / "datasets" / pushed["data"] / "README.md").data.to_dict()
    assert (data["license"], data.get("license_name")) == told


def test_the_card_tells_the_kinds_that_were_asked_for(tmp_path: Path) -> None:
    """From the answers themselves: a source that leaves its kind to its rows has none in the plan."""
    run = make_run(tmp_path, registry=str(tmp_path / "registry"))
    run["plan"] = replace(run["plan"], evaluation=(Source(path="lab/mine"),), form="boxed")
    items = run["evaluation"] / "items.jsonl"
    kinds = {0: "choice", 1: "python:near.py"}
    write_jsonl(items, [row | {"answers": kinds[n % 2]} for n, row in enumerate(read_jsonl(items))])
    write_json(run["evaluation"] / "summary.json", {"instruction": "user turn"})
    card = ModelCard.load(Path(push(**run)["location"]) / "README.md")
    assert "in that form counts (choice, python:near.py)" in card.text and "math" not in card.data.tags
    assert "The instruction ends for python:near.py with `\\boxed{<answer>}`" in card.text
    found: dict[str, Any] = {}
    exec("asked = " + card.text.split("messages = ")[1].split("\nprompt =")[0], found)
    assert [turn["role"] for turn in found["asked"]] == ["user"]
    assert "\\boxed{<letter>}\n\nQUESTION" in found["asked"][0]["content"]


def test_each_evaluation_source_has_its_own_score_in_the_card(tmp_path: Path) -> None:
    run = make_run(tmp_path, registry=str(tmp_path / "registry"))
    run["plan"] = replace(run["plan"], evaluation=(GSM8K, MINE))
    rows = [entry("base", 0.2) | {"split": "evaluation"}, entry("grpo", 0.8) | {"split": "evaluation"}]
    sources = [row | {"source": "mine"} for row in rows] + [rows[1] | {"source": "mine", "split": "gate"}]
    write_json(run["results"] / "results.json", {"results": [entry("base", 0.2), entry("grpo", 0.6)],
                                                 "sources": sources})  # fmt: skip
    card = ModelCard.load(Path(push(**run)["location"]) / "README.md")
    scores = {(result.dataset_type, result.metric_value) for result in card.data.eval_results}
    assert scores == {("openai/gsm8k, lab/mine", 0.6), ("lab/mine", 0.8)}
    assert "| grpo | zero-shot, mine | 100 | 80.0% |" in re.sub(" +", " ", card.text)
    assert "zero-shot, 40% of its answers" in card.text


def test_nothing_public_says_where_things_lay(tmp_path: Path) -> None:
    run = make_run(tmp_path, registry=str(tmp_path / "registry"))
    place, digest = f"{tmp_path}/private", "sha256:0123456789abcdef"
    source = Source(path=f"{place}/rows.jsonl", revision=digest)
    inputs = {"model": f"{place}/olmo", "sources": (source,), "evaluation": (source,)}
    plan = replace(run["plan"], revision=digest, **inputs)
    recipe = replace(QWEN, **inputs, registry=run["registry"], checkpoints=f"{place}/checkpoints", push=run["settings"])
    record = trained("2026-01-01T00:00:00+00:00", []) | {"step": "preflight"}
    record["details"] = {"plan": plan.text(), "results": f"{tmp_path}/out/results"}
    open_store(run["registry"]).write_json("runs/run-0/record/preflight.json", record)
    rows = [{"id": "1", "messages": [], "source": source.label, "licence": "mit", "revision": digest}]
    write_jsonl(tmp_path / "data" / "sft.jsonl", rows)
    write_json(tmp_path / "decision.json", {"promote": True, "champion": f"{tmp_path}/registry/models/v1"})
    given = {"plan": plan, "recipe": to_json(recipe), "data": tmp_path / "data", "decision": tmp_path / "decision.json"}
    pushed = push(**run | given)
    trees = [Path(pushed["location"]), tmp_path / "registry" / "datasets" / pushed["data"]]
    files = [path for tree in trees for path in tree.rglob("*") if path.is_file()]
    assert not [path for path in files if str(tmp_path).encode() in path.read_bytes()]
    found = read_json(trees[0] / "provenance.json")
    assert (found["plan"]["model"], found["plan"]["revision"]) == ("olmo", digest)
    assert found["plan"]["sources"][0]["path"] == found["recipe"]["sources"][0]["path"] == "rows.jsonl"
    assert found["steps"]["preflight"]["results"] == "results"
    assert found["decision"]["champion"] == "registry/models/v1"


def test_the_provenance_names_everything(tmp_path: Path) -> None:
    run = make_run(tmp_path, registry=str(tmp_path / "registry"))
    open_store(run["registry"]).write_json(
        "runs/run-0/record/grpo.json",
        trained("2026-01-01T00:00:00+00:00", ["NVIDIA H100"]),
    )
    write_json(tmp_path / "decision.json", {"promote": True, "numbers": {"forced": True}})
    run["decision"] = tmp_path / "decision.json"
    tree = Path(push(**run)["location"])
    found = read_json(tree / "provenance.json")
    assert found["plan"]["revision"] == "b" * 40 and found["recipe"]["grpo"]["generations"] == 8
    assert found["packages_of_push"]["huggingface_hub"] and found["seed"] == 0 and found["run_id"] == "run-0"
    assert found["packages_of_training"] == {"torch": "2.13.0"} and found["decision"]["numbers"]["forced"]
    assert found["seconds"] == {"grpo": 5400.0} and found["gpu_hours"] == 1.5 and found["gpus"] == ["NVIDIA H100"]
    assert found["machines"]["grpo"] == {
        "image": "trainer@sha256:1", "commit": "c" * 40, "gpus": ["NVIDIA H100"], "driver": "580.65",
    }  # fmt: skip
    assert "sft" in found["steps_without_record"] and "grpo" not in found["steps_without_record"]
    assert "Hardware: NVIDIA H100, 1.5 GPU-hours." in (tree / "README.md").read_text()
    listed = set(found["files"]) | {"provenance.json", "manifest.json"}
    assert listed == {path.relative_to(tree).as_posix() for path in tree.rglob("*") if path.is_file()}
    assert all(sha256(tree / name) == digest for name, digest in found["files"].items())


def test_steps_from_the_cache_are_found_in_the_run_that_made_them(tmp_path: Path) -> None:
    """As after a push that crashed: the next run has the same fingerprint, and KFP's cache spares it the training."""
    run = make_run(tmp_path, registry=str(tmp_path / "registry"))
    store = open_store(run["registry"])
    for run_id, fingerprint, gpu in (("old", "fingerprint-0", "A"), ("other", "else", "B")):
        write_outcome(store, outcome(run_id, fingerprint=fingerprint, ending="failed"))
        store.write_json(f"runs/{run_id}/record/grpo.json", trained("2026-01-01T00:00:00+00:00", [gpu]))
    found = read_json(Path(push(**run)["location"]) / "provenance.json")
    assert found["steps_of_other_runs"] == {"grpo": "old"} and found["gpus"] == ["A"] and found["gpu_hours"] == 1.5


def trained(started: str, gpus: list[str]) -> dict[str, Any]:
    """The record of a training of an hour and a half."""
    machine = {"image": "trainer@sha256:1", "commit": "c" * 40, "gpus": gpus, "driver": "580.65",
               "packages": {"torch": "2.13.0"}}  # fmt: skip
    return {"step": "grpo", "outcome": "succeeded", "started": started, "seconds": 5400.0, "details": {},
            "machine": machine}  # fmt: skip


def test_a_push_goes_on_only_while_the_run_holds_the_lock(tmp_path: Path) -> None:
    run = make_run(tmp_path, registry=str(tmp_path / "registry")) | {"by_hand": False}
    store = open_store(run["registry"])
    with pytest.raises(ValueError, match="run run-0 has lost the registry's lock to nobody"):
        push(**run)
    lock.take(store, "run-0", 3600)
    push(**run)
    lock.check(store, "run-0")  # the exit handler releases it
    with pytest.raises(ValueError, match="is in use by run run-0"):
        push(**run | {"by_hand": True})
    lock.release(store, "run-0")
    with pytest.raises(ValueError, match="run run-0 has let go of the registry's lock"):
        push(**run)
    push(**run | {"by_hand": True})
    lock.take(store, "another", 3600)
    with pytest.raises(ValueError, match="has lost the registry's lock to run another"):
        push(**run)
    with pytest.raises(ValueError, match="is in use by run another"):
        push(**(make_run(tmp_path / "b", registry=run["registry"], seed=1)))


def test_the_command_line_pushes_under_a_lock_of_its_own(tmp_path: Path) -> None:
    run = make_run(tmp_path, registry=str(tmp_path / "registry"))
    recipe = replace(QWEN, registry=run["registry"])
    for name, text in (
        ("recipe.json", to_json(recipe)), ("plan.json", run["plan"].text()), ("fingerprint.txt", "fingerprint-0"),
    ):  # fmt: skip
        (tmp_path / name).write_text(text)
    paths = {"model": run["model"], "evaluation": run["evaluation"], "results": run["results"], "preflight": tmp_path}
    flags = [word for name, path in paths.items() for word in (f"--{name}", str(path))]
    command = [sys.executable, "-m", "components.push", *flags, "--run-id", "run-0"]
    subprocess.run(command, check=True, capture_output=True)
    held = lock.current(open_store(run["registry"]))
    assert held and held.value["run_id"].startswith("run-0-push-") and held.value["released"] and held.value["owner"]


def test_former_champions_stay_on_the_list(tmp_path: Path) -> None:
    registry = str(tmp_path / "registry")
    versions = [push(**make_run(tmp_path / f"{n}", registry=registry, seed=n))["version"] for n in (0, 1, 2, 0)]
    champion = read_champion(open_store(registry))
    assert champion["version"] == versions[0] == versions[3]
    assert [entry["version"] for entry in champion["former"]] == versions[1:3], "a version is named once"
    assert all("former" not in entry for entry in champion["former"])


def test_pushing_again_changes_nothing_and_another_model_takes_over(tmp_path: Path) -> None:
    registry = tmp_path / "registry"
    run = make_run(tmp_path / "a", registry=str(registry))
    first = push(**run)
    before, champion = snapshot(registry), read_champion(open_store(str(registry)))
    assert push(**run) == first
    assert snapshot(registry) == before and read_champion(open_store(str(registry))) == champion
    second = push(**make_run(tmp_path / "b", registry=str(registry), seed=1))
    assert second["version"] != first["version"]
    assert read_champion(open_store(str(registry)))["version"] == second["version"]
    assert Path(first["location"], "manifest.json").exists(), "older models stay"


def test_an_interrupted_push_keeps_the_old_champion_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = tmp_path / "registry"
    first = push(**make_run(tmp_path / "a", registry=str(registry)))
    run = make_run(tmp_path / "b", registry=str(registry), seed=1)
    with monkeypatch.context() as patch:
        patch.setenv(lock.OWNER_VARIABLE, lock.owner().rpartition(" ")[0] + " 1")  # a process that is gone
        patch.setattr(pushing.Store, "write_json", _die)
        with pytest.raises(KeyboardInterrupt):
            push(**run)
    assert read_champion(open_store(str(registry)))["version"] == first["version"]
    second = push(**run)
    assert read_champion(open_store(str(registry)))["version"] == second["version"]
    assert open_store(str(registry)).get_tree(f"models/{second['version']}", tmp_path / "out") == 14


def test_incomplete_models_are_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path, registry=str(tmp_path / "registry"))
    (run["model"] / "chat_template.jinja").unlink()
    with pytest.raises(ValueError, match="has no chat template"):
        push(**run)
    (run["model"] / "generation_config.json").unlink()
    with pytest.raises(ValueError, match=r"has no generation_config\.json"):
        push(**run)
    assert not read_champion(open_store(str(tmp_path / "registry")))


def test_pushing_imports_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys, components.push.push, components.push.hub, components.gate.gate; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_the_released_weights_are_those_of_torch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    torch = pytest.importorskip("torch", reason="needs torch: the released model is not loaded")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    source = tmp_path / "float32"
    model = AutoModelForCausalLM.from_pretrained(model_directory("tiny", "main"), dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 1e-3)
    model.save_pretrained(source)
    tokenizer = AutoTokenizer.from_pretrained(model_directory("tiny", "main"))
    tokenizer.save_pretrained(source)
    pushed = push(**make_run(tmp_path, registry=str(tmp_path / "registry"), model=source))
    released = AutoModelForCausalLM.from_pretrained(pushed["location"])
    assert released.dtype == torch.bfloat16
    expected = model.to(torch.bfloat16).state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in released.state_dict().items())
    reread = AutoTokenizer.from_pretrained(pushed["location"])
    assert reread.chat_template == tokenizer.chat_template
    card = Path(pushed["location"], "README.md").read_text()
    monkeypatch.chdir(pushed["location"])
    exec(card.partition("```python\n")[2].partition("```")[0], {})  # as it stands
    assert capsys.readouterr().out


def test_a_card_shows_no_path_of_this_machine(tmp_path: Path) -> None:
    run = make_run(tmp_path, registry=str(tmp_path / "registry"))
    unnamed = replace(MINE, name="", path="/home/me/deep/rows.jsonl", revision="sha256:0")
    plan = replace(run["plan"], model="/home/me/models/smol", revision="sha256:0", evaluation=(GSM8K, unnamed))
    card = Path(push(**run | {"plan": plan})["location"], "README.md").read_text()
    assert "/home" not in card and "`rows.jsonl`" in card and "# smol-" in card.replace("\\", "")


def _die(*_: Any) -> None:
    raise KeyboardInterrupt
