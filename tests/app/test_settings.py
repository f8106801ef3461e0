"""Where settings come from, and what is refused."""

import os

import pytest
from pydantic import ValidationError

from flowy_operator.app.settings import Settings, read_settings


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("FLOWY_"):
            monkeypatch.delenv(name)


def test_a_flag_wins_over_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLOWY_WORKERS", "3")
    assert read_settings({}).workers == 3
    assert read_settings({"workers": "5", "namespaces": ("a", "b")}) == Settings(workers=5, namespaces=("a", "b"))


@pytest.mark.parametrize("name", ["FLOWY_WORKER", "FLOWY_LOGLEVEL", "FLOWY_HEALT_PORT"])
def test_an_unknown_variable_ends_the_start(name: str) -> None:
    with pytest.raises(ValueError, match=f"unknown setting {name}: known are FLOWY_CONTEXT, "):
        read_settings({}, {name: "1"})


LINKS = {
    "FLOWY_SERVICE_HOST": "10.0.0.1",
    "FLOWY_SERVICE_PORT": "80",
    "FLOWY_SERVICE_PORT_HTTP": "80",
    "FLOWY_PORT": "tcp://10.0.0.1:80",
    "FLOWY_PORT_80_TCP": "tcp://10.0.0.1:80",
    "FLOWY_PORT_80_TCP_ADDR": "10.0.0.1",
    "FLOWY_WEB_PORT": "tcp://10.0.0.1:80",
    "PATH": "/bin",
}


@pytest.mark.parametrize("name", LINKS)
def test_a_services_variables_are_not_ours(name: str) -> None:
    assert read_settings({}, {name: LINKS[name]}).workers == Settings().workers


@pytest.mark.parametrize(
    ("name", "value"), [("workers", "0"), ("workers", "many"), ("decision_cpu_ms", "1"), ("log_level", "loud")]
)
def test_a_value_out_of_bounds_is_refused(name: str, value: str) -> None:
    with pytest.raises(ValidationError):
        read_settings({name: value})


TEMPLATE = {"spec": {"serviceAccountName": "runner"}}


def test_a_pod_template_comes_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read_settings({"pod_template": '{"spec": {"serviceAccountName": "runner"}}'}).pod_template == TEMPLATE
    monkeypatch.setenv("FLOWY_POD_TEMPLATE", '{"spec": {"serviceAccountName": "runner"}}')
    assert read_settings({}).pod_template == TEMPLATE


@pytest.mark.parametrize("text", ["{", "[]", '{"spek": {}}', '{"spec": 1}'])
def test_a_pod_template_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValidationError):
        read_settings({"pod_template": text})


@pytest.mark.parametrize("name", ["Media", "media_2", "", "-media", "m" * 64, "media\n"])
def test_what_can_be_no_namespace_is_refused(name: str) -> None:
    assert read_settings({"namespaces": ("media", "ads-2")}).namespaces == ("media", "ads-2")
    with pytest.raises(ValidationError, match="namespaces"):
        read_settings({"namespaces": ("media", name)})
