"""The contract of an activity's container, played on this machine: no image, no cluster, the real program.

A task's command line is taken out of the workflow's own manifest and expanded as the kubelet does it, so a slip in the
manifest shows here. The image's entrypoint and its environment, which no manifest names, are the test's to give.
"""

import json
import os
import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

EXAMPLES = Path(__file__).parents[2] / "examples"

RESULT_BYTES = 4096
"""What the kubelet reads of a termination message."""


def manifest(example: str) -> Mapping[str, Any]:
    """The one Workflow of an example."""
    return yaml.safe_load((EXAMPLES / example / "workflow.yaml").read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def factory(workflow: Mapping[str, Any]) -> Callable[..., Callable[..., Any]]:
    """The one public function of the workflow's source."""
    namespace: dict[str, Any] = {"__name__": "example"}
    exec(workflow["spec"]["code"]["source"], namespace)  # the examples' own code
    own = {name: value for name, value in namespace.items() if getattr(value, "__module__", None) == "example"}
    (found,) = [value for name, value in own.items() if not name.startswith("_")]
    return found  # type: ignore[no-any-return]


def expand(text: str, environment: Mapping[str, str]) -> str:
    """`$(NAME)` as Kubernetes does it: `$$` is a dollar, an unknown name stays as it is."""

    def one(match: re.Match[str]) -> str:
        if match.group() == "$$":
            return "$"
        return environment.get(match.group(1), match.group())

    return re.sub(r"\$\$|\$\(([^)]*)\)", one, text)


def image(workflow: Mapping[str, Any], activity: Mapping[str, Any]) -> str:
    """The image of an activity: its own, or that of the template laid under all."""
    if "image" in activity:
        return activity["image"]  # type: ignore[no-any-return]
    containers = workflow["spec"]["defaults"]["template"]["spec"]["containers"]
    (main,) = [container for container in containers if container["name"] == "main"]
    return main["image"]  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a container ended: its status, and the JSON in its result file (None if it wrote nothing)."""

    status: int
    value: Any
    log: str

    @property
    def error(self) -> Mapping[str, Any]:
        """The error that a failed container reported."""
        assert self.status != 0, f"the container did not fail but gave {self.value}"
        assert isinstance(self.value, dict), f"the container failed without an error object; its log: {self.log}"
        return self.value["error"]  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Containers:
    """Runs the tasks of one workflow, each in the folder that the manifest's volume stands for."""

    workflow: Mapping[str, Any]
    folder: Path
    private: Path  # for input and result files, outside `folder`
    entrypoints: Mapping[str, Sequence[str]] = field(default_factory=dict)  # by image
    environment: Mapping[str, str] = field(default_factory=dict)  # of the image

    def run(self, task: str, *args: object) -> Outcome:
        """One attempt of `task`."""
        (activity,) = [t["activity"] for t in self.workflow["spec"]["tasks"] if t["name"] == task]
        input_file, result_file = self.private / "input.json", self.private / "result"
        input_file.write_text(json.dumps({"args": args, "kwargs": {}}), encoding="utf-8")
        result_file.write_bytes(b"")
        flowy = {
            "FLOWY_INPUT_FILE": str(input_file),
            "FLOWY_RESULT_FILE": str(result_file),
            "FLOWY_WORKFLOW": self.workflow["metadata"]["name"],
            "FLOWY_NAMESPACE": "default",
            "FLOWY_TASK": f"{task}-0",
            "FLOWY_ATTEMPT": "1",
            **{f"FLOWY_ARG_{n}": arg if isinstance(arg, str) else json.dumps(arg) for n, arg in enumerate(args)},
        }
        command = activity.get("command") or self.entrypoints[image(self.workflow, activity)]
        ended = subprocess.run(
            [expand(part, flowy) for part in [*command, *activity.get("args", [])]],
            cwd=self.folder, env={"PATH": os.environ["PATH"], **self.environment, **flowy},
            capture_output=True, text=True, timeout=100, check=False,
        )  # fmt: skip
        written = result_file.read_bytes()
        assert len(written) < RESULT_BYTES, f"{task} wrote {len(written)} bytes, the kubelet would cut them"
        return Outcome(ended.returncode, json.loads(written) if written else None, ended.stdout + ended.stderr)

    def functions(self) -> Mapping[str, Callable[..., Any]]:
        """The tasks as plain functions, to call the workflow's code with: a sequential run."""

        def function(task: str) -> Callable[..., Any]:
            def call(*args: object) -> Any:
                outcome = self.run(task, *args)
                assert outcome.status == 0, f"{task}{args} failed: {outcome.value} {outcome.log}"
                return outcome.value

            return call

        return {task["name"]: function(task["name"]) for task in self.workflow["spec"]["tasks"]}
