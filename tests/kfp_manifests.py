"""manifests/kfp rendered without a network: KFP's and Argo's own manifests come from folders of this machine."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import yaml

MANIFESTS = Path(__file__).parents[1] / "manifests"
FOLDERS = ("KFP_MANIFESTS", "ARGO_MANIFESTS")
MISSING = f"needs {' and '.join(FOLDERS)}, the folders manifests/ of KFP 2.17.0 and Argo Workflows 4.0.5: manifests/kfp"
KFP = re.compile(r"https://github\.com/kubeflow/pipelines//manifests/kustomize/(\S+)\?ref=2\.17\.0")
ARGO = re.compile(r"https://github\.com/argoproj/argo-workflows/manifests/([^\s?]+)\?ref=v4\.0\.5\S*")


def available() -> bool:
    """Whether both folders are named in the environment."""
    return all(name in os.environ for name in FOLDERS)


def render(directory: Path) -> list[dict]:
    """All objects of manifests/kfp; `directory` takes copies in which every remote base is a local one."""
    kfp, argo = (Path(os.environ[name]) for name in FOLDERS)
    shutil.copytree(MANIFESTS, directory / "manifests")
    shutil.copytree(kfp / "kustomize", directory / "kfp")
    shutil.copytree(argo, directory / "argo", ignore=shutil.ignore_patterns("full", "quick-start*"))
    ours = directory / "manifests" / "kfp" / "kustomization.yaml"
    replaced = [local(ours, KFP, directory / "kfp")]
    replaced += [local(path, ARGO, directory / "argo") for path in (directory / "kfp").rglob("kustomization.yaml")]
    assert replaced[0] == 1 and sum(replaced) > 2, "the remote bases are not where they were"
    done = subprocess.run(["kubectl", "kustomize", str(ours.parent)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def local(path: Path, remote: re.Pattern[str], base: Path) -> int:
    """Replace the remote bases of one kustomization by folders below `base`; how many there were."""
    text, count = remote.subn(lambda found: os.path.relpath(base / found[1], path.parent), path.read_text())
    path.chmod(0o644)
    path.write_text(text)
    return count
