"""The images, as they were built: what is in them, what is not, and the whole pipeline in containers."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from components.lib.cluster import images
from tests import ROOT
from tests.pipeline.test_end_to_end import SMALL

DATA_LIMIT = 600e6  # bytes above the base
COMMIT_SIZED = 20e6  # bytes that a change of code may rebuild

pytestmark = pytest.mark.docker


def docker(*arguments):
    return subprocess.run(["docker", *arguments], capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module", autouse=True)
def engine():
    """Skip unless a Docker engine answers and has both images."""
    if shutil.which("docker") is None or subprocess.run(["docker", "version"], capture_output=True).returncode:
        pytest.skip("needs a Docker engine (DOCKER_HOST): the images are not tried")
    for image in (images.data(), images.trainer()):
        if subprocess.run(["docker", "image", "inspect", image], capture_output=True).returncode:
            pytest.skip(f"needs the image {image} (`make image`, GRPO_IMAGE_PREFIX, GRPO_IMAGE_TAG): it is not tried")


def layers(image):
    """(size in bytes, what made it) of each layer, the newest first."""
    lines = docker(
        "history", "--no-trunc", "--human=false", "--format", "{{.Size}}\t{{.CreatedBy}}", image
    ).splitlines()
    return [(int(size), by) for size, by in (line.split("\t", 1) for line in lines)]


def python(image, code):
    return docker("run", "--rm", "-e", "OMP_NUM_THREADS=1", image, "python3", "-c", code)


def test_the_data_image_is_small_and_has_no_torch():
    made = layers(images.data())
    ours = next(number for number, (_, by) in enumerate(made) if "VIRTUAL_ENV=/opt/venv" in by)
    assert 0 < sum(size for size, _ in made[:ours]) < DATA_LIMIT
    assert python(images.data(), "import importlib.util as u; print(u.find_spec('torch'))").strip() == "None"
    python(images.data(), "import components.standardize.standardize, components.compare.compare, components.push.push")


@pytest.mark.parametrize("image", [images.data(), images.trainer()])
def test_an_image_runs_as_its_user_and_has_no_compiler(image):
    config = json.loads(docker("image", "inspect", image))[0]["Config"]
    assert config["User"] == "10001:10001"
    assert re.fullmatch(r"[0-9a-f]{40}", config["Labels"]["org.opencontainers.image.revision"])
    script = "for tool in gcc g++ cc clang nvcc uv; do command -v $tool; done; id -u; touch $HOME/x && echo writable"
    assert docker("run", "--rm", image, "sh", "-c", script).splitlines() == ["10001", "writable"]
    assert docker("run", "--rm", "--user", "4321:4321", image, "sh", "-c", "touch $HOME/x && id -u") == "4321\n"


@pytest.mark.parametrize("image", [images.data(), images.trainer()])
def test_a_change_of_code_rebuilds_megabytes(image):
    made = layers(image)
    code = next(number for number, (_, by) in enumerate(made) if "COPY components" in by)
    assert sum(size for size, _ in made[: code + 1]) < COMMIT_SIZED


def test_the_trainer_starts_without_a_gpu_and_says_what_it_found():
    code = (
        "import torch, transformers, trl, components.grpo.train, components.evaluate.evaluate\n"
        "print(torch.__version__, torch.version.cuda, torch.cuda.is_available())"
    )
    version, cuda, available = python(images.trainer(), code).split()[-3:]
    assert version.startswith("2.13.0") and tuple(map(int, cuda.split("."))) >= (12, 8) and available == "False"


def test_the_full_trainer_imports_its_kernels_without_a_gpu():
    """FLA, causal-conv1d's extension and vLLM load; Triton's one module is there although no compiler is.

    The first two are hidden where there is no GPU, so that transformers does not call them on the CPU.
    """
    if python(images.trainer(), "import importlib.util as u; print(u.find_spec('vllm'))").strip() == "None":
        pytest.skip("needs the full trainer image (`make image TRAINER=full`): its kernels are not imported")
    code = (
        "import sys\n"
        "assert sys.modules.pop('fla') is None and sys.modules.pop('causal_conv1d') is None\n"
        "import fla, causal_conv1d_cuda, causal_conv1d, vllm\n"
        "import os, pathlib, subprocess, triton\n"
        "source = pathlib.Path(triton.__file__).parent / 'backends/nvidia/driver.c'\n"
        "subprocess.run([os.environ['CC'], source, '-O3', '-o', '/tmp/cuda_utils.so'], check=True)\n"
        "print(fla.__version__, vllm.__version__, pathlib.Path('/tmp/cuda_utils.so').stat().st_size > 10000)"
    )
    assert python(images.trainer(), code).split()[-3:] == ["0.6.0", "0.30.0", "True"]


def test_the_tiny_pipeline_runs_in_containers(tmp_path):
    changes = SMALL | {"gate_force": "true"}
    sets = [f"--set={name}={value}" for name, value in changes.items()]
    command = [sys.executable, "pipeline.py", "run", "--runner", "docker", "--output", str(tmp_path), *sets]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=dict(os.environ), check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["ending"] == "promoted" and Path(summary["model"], "model.safetensors").is_file()
    log = (tmp_path / "run.log").read_text()
    assert f"Found image {images.trainer()!r}" in log and f"Found image {images.data()!r}" in log
