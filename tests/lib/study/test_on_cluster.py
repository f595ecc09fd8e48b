"""A study on a cluster: which runs are submitted, and found again; the registries are those of a real MinIO."""

from contextlib import contextmanager
from dataclasses import replace

import pytest
import yaml
from kfp import compiler

import pipeline
from components.lib.cluster import submit, watch
from components.lib.recipe import files
from components.lib.recipe.settings import replace as changed
from components.lib.recipe.settings import to_json
from components.lib.registry.outcome import write_outcome
from components.lib.registry.store import open_store
from components.lib.study import declared, on_cluster, runs, verb
from components.lib.study.on_cluster import Cluster, run_all
from components.preflight import preflight
from tests.fixtures.kfp_server import KfpServer
from tests.fixtures.minio_server import MISSING, MinioServer, find_minio
from tests.fixtures.outcomes import outcome
from tests.lib.study.test_results import leave

REGISTRY = "s3://bucket/registry"
RIGHT = {"with-form": 100, "right-only": 120}


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    if find_minio() is None:
        pytest.skip(MISSING)
    with MinioServer(tmp_path_factory.mktemp("minio")) as running:
        yield running


TEXTS = {}


def written(recipe, write=files.write):
    """As `files.write`, which takes a while; the same recipe is written once."""
    key = to_json(recipe)
    TEXTS[key] = TEXTS.get(key) or write(recipe)
    return TEXTS[key]


class World:
    """A cluster, a study of it, and what became of it; `fate` says in which state runs of a name end."""

    def __init__(self, made, output):
        self.study, self.output, self.fate, self.asked = made, output, {}, 0
        self.kfp = KfpServer(self.end)
        self.cluster = Cluster(self.kfp, "http://kfp", "ns", "account", build=lambda recipe, **how: (recipe, how))

    def end(self, run):
        """What a run leaves in the registry that it was given."""
        place = run.runtime_config.parameters["registry"]
        (mine,) = [
            each for each in runs.planned(self.study, self.output, cluster=True) if each.recipe.registry == place
        ]
        if self.fate.get(mine.name) == "FAILED":
            sentence = "sft failed: ValueError: no rows"
            write_outcome(open_store(place), outcome(run.run_id, ending="failed", sentence=sentence))
            return "FAILED"
        leave(mine, RIGHT.get(mine.variant, 50) + mine.seed, run_id=run.run_id)
        return "SUCCEEDED"

    def run(self, parallel=2):
        return run_all(self.study, self.output, self.cluster, parallel)

    def names(self):
        return [run.display_name.rpartition(" ")[0] for run in self.kfp.runs]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """As `api.compiled`; pipelines of the same stages are compiled once."""
    folder = tmp_path_factory.mktemp("compiled")

    @contextmanager
    def yield_path(given):
        recipe, how = given
        path = folder / f"{'-'.join(recipe.stages)}-{how}.yaml"
        if not path.exists():
            compiler.Compiler().compile(pipeline.build(recipe, **how), str(path))
        yield path

    return yield_path


@pytest.fixture
def world(server, compiled, monkeypatch, tmp_path):
    """The study `rewards` with two seeds in an empty bucket."""
    monkeypatch.setattr(submit, "compiled", compiled)
    monkeypatch.setattr(files, "write", written)
    for name, value in server.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(watch, "POLL_S", 0)
    client = server.client()
    if not client.bucket_exists("bucket"):
        client.make_bucket("bucket")
    for found in client.list_objects("bucket", recursive=True):
        client.remove_object("bucket", found.object_name)
    made = declared.load("rewards", "", [f"registry={REGISTRY}", "compare_bootstrap_samples=200"])
    return World(replace(made, seeds=(0, 1)), tmp_path)


def test_every_run_is_submitted_once_and_no_more_than_so_many_at_once(world, capsys):
    assert world.run(parallel=2) == 0 and world.kfp.most == 2
    assert sorted(world.names()) == [
        "right-only, seed 0", "right-only, seed 1", "with-form, seed 0", "with-form, seed 1",
    ]  # fmt: skip
    given = [run.runtime_config.parameters for run in world.kfp.runs]
    assert f"{REGISTRY}/studies/rewards/with-form/1" in {each["registry"] for each in given}
    assert {run.experiment_id for run in world.kfp.runs} == {"rewards"} and {each["seed"] for each in given} == {0, 1}
    assert "4 of 4 runs done, 0 at work" in capsys.readouterr().out
    assert world.run() == 0 and len(world.kfp.runs) == 4, "what has ended is not run again"
    world.study = replace(world.study, seeds=(0, 1, 2))
    assert world.run() == 0 and world.names()[4:] == ["with-form, seed 2", "right-only, seed 2"]
    assert verb._report(world.study, world.output) == 0, "without KFP, by what lies in the bucket"
    assert "6 runs" in (world.output / "study.md").read_text()


def test_a_killed_study_finds_its_runs_again(world, capsys):
    def kill():
        world.asked += 1
        if world.asked == 20:
            raise KeyboardInterrupt

    world.kfp.before = kill
    assert world.run() == 130
    before = list(world.names())
    assert (
        1 <= len(world.kfp.working()) <= 2
        and "what is at work goes on, unwatched; the same command finds it again" in capsys.readouterr().out
    )
    assert verb._status(world.study, world.output, 2, world.cluster) == 0
    assert "at work" in (status := capsys.readouterr().out) and world.kfp.working()[0].run_id in status
    assert world.run() == 0 and "is at work already, as run" in capsys.readouterr().out
    assert world.names()[: len(before)] == before and sorted(world.names()) == sorted(set(world.names()))


def test_a_run_whose_submission_was_not_answered_is_not_submitted_again(world):
    from urllib3.exceptions import ProtocolError

    taken = world.kfp.run_pipeline

    def silent(**given):
        taken(**given)
        raise ProtocolError("Connection aborted.")

    world.kfp.run_pipeline = silent
    assert world.run() == 0 and len(world.names()) == 4


def test_a_failed_run_is_named_and_the_next_start_tries_it_again(world, capsys):
    world.fate["with-form, seed 0"] = "FAILED"
    assert world.run() == 1
    told = capsys.readouterr().out
    assert "with-form, seed 0: failed: sft failed: ValueError: no rows" in told
    assert "study rewards: FAILED: with-form, seed 0\n" in told and len(world.names()) == 4
    world.fate.clear()
    assert world.run() == 0 and world.names()[4:] == ["with-form, seed 0"]


def test_what_runs_share_is_done_by_one_of_them_and_the_others_wait(world):
    """The data and the base by the first run of all, an SFT by the first of its seed."""
    world.study = declared.load("sft-or-not", "", [f"registry={REGISTRY}"])
    done = []

    def submitted(**given):
        states = {run.display_name.rpartition(" ")[0]: watch.step_states(run, watch.step_names(run.pipeline_spec))
                  for run in world.kfp.runs}  # fmt: skip
        done.append((given["job_name"].rpartition(" ")[0], states))
        return taken(**given)

    taken, world.kfp.run_pipeline = world.kfp.run_pipeline, submitted
    assert world.run(parallel=9) == 0 and world.kfp.most > 3
    for name, states in done[1:]:
        assert states["sft, seed 0"]["Evaluate base"] == "SUCCEEDED"
        if name.startswith("sft+grpo"):
            seed = name.removeprefix("sft+grpo")
            assert states[f"sft{seed}"]["SFT"] == states[f"sft{seed}"]["Evaluate SFT"] == "SUCCEEDED"


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """What KFP's cache sees of the steps of sft-or-not, by run and display name: image, command, arguments, inputs."""
    study = declared.load("sft-or-not", "", [f"registry={REGISTRY}"])
    directory, found = tmp_path_factory.mktemp("keys"), {}
    for run in runs.planned(study, directory, cluster=True):
        if (run.variant, run.seed) in (("sft", 0), ("grpo", 0), ("sft+grpo", 0), ("sft+grpo", 1)):
            found[run.variant, run.seed] = keys_of(run.recipe, directory)
    return found


def keys_of(recipe, directory):
    path = directory / "pipeline.yaml"
    compiler.Compiler().compile(pipeline.build(recipe, judged=False, shared=True), str(path))
    spec = next(yaml.load_all(path.read_text(), yaml.CSafeLoader))
    checked = preflight.check_run(to_json(changed(recipe, registry=str(directory / "registry"))), {})
    told = {"Output": checked.plan.text(), **preflight._outputs(checked)}
    boxes = spec["deploymentSpec"]["executors"]

    def value(given):
        if "runtimeValue" in given:
            return given["runtimeValue"]["constant"]
        if "taskOutputParameter" in given:
            return told[given["taskOutputParameter"]["outputParameterKey"]]
        name = given["componentInputParameter"].removeprefix("pipelinechannel--")
        return told[name.removeprefix("preflight-")] if name.startswith("preflight-") else f"<{name}>"

    found = {}
    for part in spec["components"].values():
        for task in part.get("dag", {}).get("tasks", {}).values():
            component = spec["components"][task["componentRef"]["name"]]
            if "executorLabel" in component:
                box = boxes[component["executorLabel"]]["container"]
                inputs = {name: value(given) for name, given in task["inputs"].get("parameters", {}).items()}
                found[task["taskInfo"]["name"]] = {**inputs, **{k: box[k] for k in ("image", "command", "args")}}
    return found


def test_what_the_cache_sees_of_a_step_does_not_know_the_variant(keys):
    """Its env it does not see: backend/src/v2/cacheutils of KFP 2.17.0."""
    one, both = keys["sft", 0], keys["sft+grpo", 0]
    for step in ("Standardize", "Evaluate base", "SFT", "Evaluate SFT"):
        assert one[step] == both[step], step
        assert one[step]["registry"] == one[step]["run_id"] == ""
    for step in ("Standardize", "Evaluate base"):
        assert keys["grpo", 0][step] == one[step], step


def test_data_and_base_know_no_seed_and_trainings_do(keys):
    first, second = keys["sft+grpo", 0], keys["sft+grpo", 1]
    for step in ("Standardize", "Evaluate base"):
        assert first[step] == second[step], step
    for step in ("SFT", "GRPO"):
        assert first[step] != second[step], step


def test_a_study_for_a_cluster_needs_a_bucket(capsys):
    assert pipeline.main(["study", "rewards", "--cluster", "--dry-run"]) == 2
    assert "registry is empty; add --set registry=s3://BUCKET/PREFIX" in capsys.readouterr().err


def test_the_dry_run_counts_pods_and_what_goes_on_at_once(world, capsys):
    def minutes(*more):
        words = ["study", "rewards", "--cluster", "--dry-run", f"--set=registry={REGISTRY}", *more]
        assert pipeline.main([*words, "--output", str(world.output)]) == 0
        last = capsys.readouterr().out.splitlines()[-1]
        return int(last.removeprefix("6 runs, 0 done; left: about ").removesuffix(" min"))

    assert minutes() > 15 and minutes("--parallel", "3") == pytest.approx(minutes() / 3, abs=1)


def test_the_best_variant_is_judged_there_too(world):
    assert world.run() == 0
    submitted = []
    world.kfp.run_pipeline = lambda **given: submitted.append(given) or pytest.fail("stop")
    with pytest.raises(pytest.fail.Exception):
        on_cluster.promote(world.study, "right-only", world.output, world.cluster)
    (given,) = submitted
    assert given["job_name"] == "best: right-only" and given["params"]["registry"] == REGISTRY
