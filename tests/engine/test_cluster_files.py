"""The files in docs/clusters can be used: shell that parses, and keys that are documented where they are read."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

FOLDER = Path(__file__).parents[2] / "docs" / "clusters"
SBATCH = {
    *("job-name", "array", "nodes", "ntasks-per-node", "gpus-per-task", "gpus-per-node", "cpus-per-task", "mem"),
    *("exclusive", "time", "signal", "requeue"),
}
CONTAINER = {"name": {}, "image": {}, "env": {"name": {}, "value": {}}, "volumeMounts": {"name": {}, "mountPath": {}}}
AMOUNTS = {"cpu": {}, "memory": {}, "nvidia.com/gpu": {}}
POD = {
    "spec": {
        "containers": {**CONTAINER, "resources": {"requests": AMOUNTS, "limits": AMOUNTS}},
        "volumes": {"name": {}, "persistentVolumeClaim": {"claimName": {}}},
    }
}
RAY_JOB: dict[str, Any] = {
    "apiVersion": {},
    "kind": {},
    "metadata": {"name": {}},
    "spec": {
        "entrypoint": {},
        "shutdownAfterJobFinishes": {},
        "backoffLimit": {},
        "rayClusterSpec": {
            "rayVersion": {},
            "headGroupSpec": {"rayStartParams": {"num-cpus": {}}, "template": POD},
            "workerGroupSpecs": {
                **{key: {} for key in ("groupName", "replicas", "minReplicas", "maxReplicas")},
                "rayStartParams": {},
                "template": POD,
            },
        },
    },
}
SKY: dict[str, Any] = {
    **{key: {} for key in ("name", "num_nodes", "workdir", "setup", "run")},
    "resources": {key: {} for key in ("accelerators", "cpus", "memory", "disk_size")},
    "volumes": {"/shared": {}},
    "envs": {key: {} for key in ("LAYERSIG_CACHE", "HF_HOME")},
}


def _strange(value: Any, known: dict[str, Any], at: str = "") -> list[str]:
    """Keys that are not known, by path."""
    if isinstance(value, list):
        return [key for each in value for key in _strange(each, known, at)]
    if not isinstance(value, dict):
        return []
    unknown = [f"{at}/{key}" for key in value if key not in known]
    return unknown + [
        name for key, each in value.items() if key in known for name in _strange(each, known[key], f"{at}/{key}")
    ]


def _parses(script: str) -> None:
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def _command(text: str) -> None:
    """The options of `layersig run` exist."""
    from layersig.cli.run import command

    options = {name for each in command.params for name in each.opts}
    calls = re.findall(r"layersig run ([^\n]*)", text)
    assert calls
    for call in calls:
        assert set(re.findall(r"--[a-z-]+", call)) <= options, call


@pytest.mark.parametrize("name", ["array.sbatch", "ray.sbatch"])
def test_sbatch_files(name: str) -> None:
    text = (FOLDER / name).read_text()
    _parses(text)
    _command(text)
    options = re.findall(r"^#SBATCH --([a-z-]+)(?:=\S+)?$", text, re.MULTILINE)
    assert len(options) == text.count("#SBATCH")
    assert set(options) <= SBATCH
    # Slurm 22.05 and later give a step one CPU for each task, whatever the job has.
    steps = re.findall(r"^srun (.+)$", text, re.MULTILINE)
    assert steps
    assert all(step.startswith('--cpus-per-task "$SLURM_CPUS_PER_TASK" ') for step in steps)


@pytest.mark.parametrize(("name", "known"), [("kuberay.yaml", RAY_JOB), ("skypilot.yaml", SKY)])
def test_yaml_files(name: str, known: dict[str, Any]) -> None:
    text = (FOLDER / name).read_text()
    value = yaml.safe_load(text)
    assert _strange(value, known) == []
    _command(text)
    for script in (value.get("setup"), value.get("run"), value.get("spec", {}).get("entrypoint")):
        _parses(script or "")


def test_every_file_is_in_the_page() -> None:
    page = (FOLDER.parent / "clusters.md").read_text()
    assert set(re.findall(r"\(clusters/([\w.]+)\)", page)) == {path.name for path in FOLDER.iterdir()}
