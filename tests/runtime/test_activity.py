"""`flowy.activity` as a container has it: a copy of one file, a bare interpreter, files, variables and a gateway."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

from flowy import activity

SOURCE = Path(activity.__file__)


@dataclass(frozen=True)
class Ended:
    code: int
    result: bytes
    log: str

    @property
    def value(self) -> Any:
        assert self.code == 0, self.log
        return json.loads(self.result)

    @property
    def error(self) -> Mapping[str, Any]:
        assert self.code == 1, self.log
        assert len(self.result) < 4096
        error: Mapping[str, Any] = json.loads(self.result)["error"]
        return error


@dataclass
class Gateway:
    """Answers what it is told to, and remembers what it was asked. Each answer is a status and a body."""

    url: str = ""
    asked: list[tuple[str, str, bytes]] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    answers: dict[str, list[tuple[int, Any]]] = field(default_factory=dict)
    closes: bool = False

    def answer(self, method: str, path: str, token: str, body: bytes) -> tuple[int, Any]:
        self.asked.append((method, path, body))
        self.tokens.append(token)
        left = self.answers[path]
        return left.pop(0) if len(left) > 1 else left[0]


@contextmanager
def gateway(**answers: list[tuple[int, Any]]) -> Iterator[Gateway]:
    found = Gateway(answers={f"/{name}": given for name, given in answers.items()})

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, value = found.answer(self.command, self.path, self.headers["Authorization"], body)
            text = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)
            self.close_connection = found.closes

        do_GET = do_POST = do_PUT = do

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}"
    serving = Thread(target=server.serve_forever, args=(0.02,))
    serving.start()
    try:
        yield found
    finally:
        server.shutdown()
        serving.join()
        server.server_close()


def start(
    folder: Path, program: str, *args: object, there: Gateway | None = None, url: str | None = None, **kwargs: object
) -> "subprocess.Popen[str]":
    """Begin a program that has nothing but the one file, on an interpreter without site packages."""
    shutil.copyfile(SOURCE, folder / "flowy_activity.py")
    script = folder / "program.py"
    head = (
        f"import sys; sys.path.insert(0, {str(folder)!r})\nfrom flowy_activity import *\nimport flowy_activity, time\n"
    )
    script.write_text(head + textwrap.dedent(program))
    (folder / "input.json").write_text(json.dumps({"args": args, "kwargs": kwargs}))
    (folder / "token").write_text("one\n")
    environment: dict[str, str] = {
        "FLOWY_INPUT_FILE": str(folder / "input.json"),
        "FLOWY_RESULT_FILE": str(folder / "result"),
    }
    if there is not None or url is not None:
        environment |= {"FLOWY_URL": url or (there.url if there else ""), "FLOWY_TOKEN_FILE": str(folder / "token")}
    return subprocess.Popen(
        [sys.executable, "-I", "-S", str(script)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def end(process: "subprocess.Popen[str]", folder: Path) -> Ended:
    log, _ = process.communicate(timeout=60)
    result = folder / "result"
    return Ended(process.returncode, result.read_bytes() if result.exists() else b"", log)


def run(folder: Path, program: str, *args: object, **kwargs: Any) -> Ended:
    return end(start(folder, program, *args, **kwargs), folder)


# -- main -------------------------------------------------------------------------------------------------------------


def test_arguments_in_result_out(tmp_path: Path) -> None:
    ended = run(tmp_path, "main(lambda a, b=0, *, c: {'sum': a + b, 'c': c})", 1, b=2.5, c="é")
    assert ended.value == {"sum": 3.5, "c": "é"}
    assert ended.result == '{"sum":3.5,"c":"é"}'.encode()


def test_nothing_returned_is_null(tmp_path: Path) -> None:
    assert run(tmp_path, "main(lambda: None)").value is None


FAILURES: dict[str, tuple[str, dict[str, Any]]] = {
    "an exception": ("def f(): raise KeyError('no')", {"type": "KeyError", "message": "'no'"}),
    "an exception without words": ("def f(): raise ValueError", {"type": "ValueError", "message": "ValueError"}),
    "a failure with all it can say": (
        "def f(): raise TaskFailure('NoFilm', 'film 7', details={'id': 7}, retryable=False)",
        {"type": "NoFilm", "message": "film 7", "details": {"id": 7}, "retryable": False},
    ),
    "a failure that may pass": ("def f(): raise TaskFailure('Busy')", {"type": "Busy", "message": "Busy"}),
    "arguments that don't fit": (
        "def f(a): pass",
        {"type": "TypeError", "message": "f() missing 1 required positional argument: 'a'"},
    ),
    "a result that is no JSON": (
        "f = lambda: {1, 2}",
        {"type": "ValueError", "message": "the result is no JSON: Object of type set is not JSON serializable"},
    ),
    "a result that is no number": (
        "f = lambda: float('nan')",
        {"type": "ValueError", "message": "the result is no JSON: Out of range float values are not JSON compliant"},
    ),
    "a lone surrogate": (
        "f = lambda: chr(0xd800)",
        {"type": "ValueError", "message": "the result is no JSON: a lone surrogate in a text"},
    ),
}


@pytest.mark.parametrize(("function", "told"), FAILURES.values(), ids=FAILURES)
def test_what_is_raised_fails_the_attempt_in_its_own_words(tmp_path: Path, function: str, told: dict[str, Any]) -> None:
    ended = run(tmp_path, f"{function}\nmain(f)")
    # Later versions of Python add the value to their message.
    assert {**ended.error, "message": re.sub(": nan$", "", ended.error["message"])} == told
    assert "Traceback" in ended.log


LONG_FAILURES: dict[str, tuple[str, str]] = {
    "a long message": ("RuntimeError('x' * 10000)", "xxx… (9,000 characters more are in the log)"),
    "long details": ("TaskFailure('T', 'm', details='x' * 5000)", "(without its details: the error is 5,"),
    "details that are no JSON": ("TaskFailure('T', 'm', details={1})", "(without its details: the error is no JSON"),
    "a message of wide characters": ("RuntimeError(chr(0x1f600) * 10000)", "😀😀"),
    "a lone surrogate": ("RuntimeError(chr(0xd800))", "\\ud800"),
}


@pytest.mark.parametrize(("raised", "words"), LONG_FAILURES.values(), ids=LONG_FAILURES)
def test_an_error_always_fits(tmp_path: Path, raised: str, words: str) -> None:
    assert words in run(tmp_path, f"def f(): raise {raised}\nmain(f)").error["message"]


def test_a_result_just_fits_or_says_what_to_do(tmp_path: Path) -> None:
    assert len(run(tmp_path, "main(lambda: 'x' * 4093)").result) == 4095
    error = run(tmp_path, "main(lambda: 'x' * 4094)").error
    assert (error["type"], error["retryable"]) == ("ResultTooLong", False)
    assert "4,096 bytes long, at most 4,095" in error["message"]
    assert "gateway: true" in error["message"]


def test_sigterm_cleans_up(tmp_path: Path) -> None:
    program = """
    def f():
        try:
            print("ready", flush=True)
            time.sleep(60)
        finally:
            open(sys.argv[0] + ".cleaned", "w").close()
    main(f)
    """
    process = start(tmp_path, program)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    ended = end(process, tmp_path)
    assert (ended.code, ended.result) == (143, b"")
    assert (tmp_path / "program.py.cleaned").exists()


def test_on_a_laptop_it_says_what_is_missing(tmp_path: Path) -> None:
    shutil.copyfile(SOURCE, tmp_path / "flowy_activity.py")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import flowy_activity; flowy_activity.main(print)"
    done = subprocess.run([sys.executable, "-I", "-c", code], env={}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "FLOWY_RESULT_FILE is not set: this program is a Flowy activity" in done.stderr
    assert "Traceback" not in done.stderr


# -- upload -----------------------------------------------------------------------------------------------------------


def test_a_long_result_is_uploaded(tmp_path: Path) -> None:
    with gateway(result=[(200, {"bytes": 0})]) as there:
        ended = run(tmp_path, "main(lambda: 'x' * (1024 * 1024 - 2))", there=there)
    assert (ended.code, ended.result) == (0, b""), ended.log
    assert there.asked == [("PUT", "/result", b'"' + b"x" * (1024 * 1024 - 2) + b'"')]
    assert there.tokens == ["Bearer one"]


def test_an_upload_is_tried_until_it_is_taken(tmp_path: Path) -> None:
    answers = [(503, {"error": "again"}), (401, {}), (429, {}), (200, {"bytes": 0})]
    with gateway(result=list(answers)) as there:
        there.closes = True
        assert run(tmp_path, "main(lambda: 'x' * 5000)", there=there).code == 0
        assert len(there.asked) == 4


def test_what_the_gateway_refuses_fails_the_attempt(tmp_path: Path) -> None:
    with gateway(result=[(409, {"error": "it is over"})]) as there:
        error = run(tmp_path, "main(lambda: 'x' * 5000)", there=there).error
    assert error == {"type": "ResultNotTaken", "message": "the result, 5,002 bytes: it is over"}


def test_more_than_can_be_uploaded_is_refused_here(tmp_path: Path) -> None:
    with gateway(result=[(200, {})]) as there:
        error = run(tmp_path, "main(lambda: 'x' * (1024 * 1024))", there=there).error
        assert not there.asked
    assert "1,048,578 bytes long, at most 1,048,576" in error["message"]


# -- heartbeats -------------------------------------------------------------------------------------------------------

GO_ON = (200, {"continue": True})


def test_a_tight_loop_makes_few_calls_and_the_newest_details_count(tmp_path: Path) -> None:
    program = """
    flowy_activity.PAUSE_S = 0.3
    def f():
        until = time.monotonic() + 1
        n = 0
        while time.monotonic() < until:
            n += 1
            assert heartbeat({"n": n}) is True
        return n
    main(f)
    """
    with gateway(heartbeat=[GO_ON]) as there:
        beats = run(tmp_path, program, there=there).value
        told = [json.loads(body)["n"] for _, _, body in there.asked]
    assert beats > 100
    assert 2 <= len(told) <= 5
    assert told == sorted(told)
    assert told[0] == 1


def test_who_no_longer_counts_is_told_so_from_then_on(tmp_path: Path) -> None:
    program = "flowy_activity.PAUSE_S = 0\nmain(lambda: [heartbeat(), heartbeat(), heartbeat()])"
    with gateway(heartbeat=[GO_ON, (200, {"continue": False, "reason": "over"}), GO_ON]) as there:
        assert run(tmp_path, program, there=there).value == [True, False, False]
        assert len(there.asked) == 2


def test_details_stay_until_they_are_told(tmp_path: Path) -> None:
    program = "flowy_activity.PAUSE_S = 0\nmain(lambda: [heartbeat([1]), heartbeat(), heartbeat()])"
    with gateway(heartbeat=[(503, {"error": "again"}), GO_ON]) as there:
        assert run(tmp_path, program, there=there).value == [True, True, True]
        assert [body for *_, body in there.asked] == [b"[1]", b"[1]", b""]


ODD: dict[str, tuple[int, Any]] = {
    "it is not known yet": (503, {"error": "again"}),
    "a wrong token": (401, {"error": "expired"}),
    "too often": (429, {"error": "pause"}),
    "an odd answer": (200, [1]),
    "an answer from another server": (200, {"hello": "world"}),
    "a fault": (500, "oops"),
}


@pytest.mark.parametrize("answer", ODD.values(), ids=ODD)
def test_any_other_answer_means_nothing_and_is_logged(tmp_path: Path, answer: tuple[int, Any]) -> None:
    with gateway(heartbeat=[answer]) as there:
        ended = run(tmp_path, "main(lambda: heartbeat())", there=there)
    assert ended.value is True
    assert ended.log.startswith("heartbeat: ")


def test_nobody_there_means_nothing(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert run(tmp_path, "main(lambda: heartbeat(1))", url=f"http://127.0.0.1:{port}").value is True


def test_a_gateway_that_does_not_answer_holds_the_work_up_for_a_part_of_its_time(tmp_path: Path) -> None:
    program = """
    flowy_activity.CALL_S = flowy_activity.PAUSE_S = 0.2
    def f():
        until = time.monotonic() + 1.5
        while time.monotonic() < until:
            assert heartbeat(1) is True
            time.sleep(0.01)
    main(f)
    """
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it takes connections and says nothing
        ended = run(tmp_path, program, url=f"http://127.0.0.1:{silent.getsockname()[1]}")
    assert ended.code == 0, ended.log
    assert 1 <= ended.log.count("heartbeat: ") <= 3  # each takes 0.2 s, and a pause of 0.4 s follows


def test_after_silence_the_pause_grows_with_what_the_call_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    calls: list[float] = []

    class Slow:
        cost_s = 5.0
        answer: tuple[int, bytes] | None = None

        def is_there(self) -> bool:
            return True

        def call(self, *args: object) -> tuple[int, bytes]:
            nonlocal now
            calls.append(now)
            now += self.cost_s
            if self.answer is None:
                raise OSError("timed out")
            return self.answer

    slow = Slow()
    pulse = activity._Pulse(slow)  # type: ignore[arg-type]
    monkeypatch.setattr(activity, "time", SimpleNamespace(monotonic=lambda: now))

    def beat_until(end: float) -> None:
        nonlocal now
        while now < end:
            assert pulse.beat(None) is True
            now += 0.25

    beat_until(1040)
    assert calls == [1000.0, 1015.0, 1030.0], "twice as long as it took, counted from its end"
    slow.cost_s = 0.0
    beat_until(1048)
    assert calls[3:] == [1045.0, 1046.0, 1047.0], "refused at once: once a second, as ever"
    slow.cost_s = 20.0
    calls.clear()
    beat_until(1079)
    assert calls == [1048.0, 1078.0], "a kept connection is tried twice, its successors are not"
    slow.cost_s, slow.answer = 1.0, (503, b"{}")
    calls.clear()
    now = 2000.0
    beat_until(2004)
    assert calls == [2000.0, 2002.0], "an answer, though a late one: it was heard"


def test_a_connection_that_was_closed_is_made_anew(tmp_path: Path) -> None:
    program = """
    flowy_activity.PAUSE_S = 0
    def f():
        heartbeat(1)
        time.sleep(0.2)
        return heartbeat(2)
    main(f)
    """
    with gateway(heartbeat=[GO_ON]) as there:
        there.closes = True
        ended = run(tmp_path, program, there=there)
        assert (ended.value, ended.log) == (True, "")
        assert [body for *_, body in there.asked] == [b"1", b"2"]


def test_the_token_is_read_for_each_call(tmp_path: Path) -> None:
    program = """
    flowy_activity.PAUSE_S = 0
    import os
    def f():
        heartbeat()
        open(os.environ["FLOWY_TOKEN_FILE"], "w").write("two")
        heartbeat()
    main(f)
    """
    with gateway(heartbeat=[GO_ON]) as there:
        run(tmp_path, program, there=there)
        assert there.tokens == ["Bearer one", "Bearer two"]


@pytest.mark.parametrize(
    ("details", "words"),
    [("'x' * 4094", "4,096 bytes long, at most 4,095"), ("{1}", "the details of the heartbeat is no JSON")],
)
def test_details_that_cannot_be_sent_are_a_fault_of_the_program(tmp_path: Path, details: str, words: str) -> None:
    error = run(tmp_path, f"main(lambda: heartbeat({details}))").error
    assert error["type"] == "ValueError"
    assert words in error["message"]


# -- progress ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("left", [None, 7, {"frame": 1.5}])
def test_what_the_attempt_before_left(tmp_path: Path, left: Any) -> None:
    with gateway(progress=[(503, {"error": "again"}), (200, left)]) as there:
        assert run(tmp_path, "main(lambda: [progress()])", there=there).value == [left]


def test_progress_does_not_guess(tmp_path: Path) -> None:
    program = "flowy_activity.UPLOAD_TRIES_S = 0\nmain(progress)"
    with gateway(progress=[(500, {"error": "oops"})]) as there:
        assert run(tmp_path, program, there=there).error == {"type": "OSError", "message": "progress(): oops"}
    with gateway(progress=[(409, {"error": "over"})]) as there:
        assert run(tmp_path, "main(progress)", there=there).value is None


def test_without_a_gateway_it_all_works(tmp_path: Path) -> None:
    assert run(tmp_path, "main(lambda: [heartbeat(1), progress()])").value == [True, None]


# -- weight -----------------------------------------------------------------------------------------------------------


def test_it_loads_nothing_that_it_does_not_need() -> None:
    code = f"import sys; sys.path.insert(0, {str(SOURCE.parents[1])!r}); import flowy.activity; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert {name for name in loaded if name.startswith("flowy")} == {"flowy", "flowy.activity"}
    assert not loaded & {
        "typing",
        "asyncio",
        "http",
        "http.client",
        "email",
        "urllib",
        "socket",
        "traceback",
        "hashlib",
    }


@pytest.mark.parametrize("version", ["3.9", "3.10", "3.13"])
def test_it_runs_on_other_pythons(tmp_path: Path, version: str) -> None:
    python = shutil.which(f"python{version}")
    if python is None or subprocess.run([python, "--version"], capture_output=True, check=False).returncode:
        pytest.skip(f"no Python {version} on this machine")
    shutil.copyfile(SOURCE, tmp_path / "flowy_activity.py")
    (tmp_path / "input.json").write_text('{"args": [1], "kwargs": {}}')
    code = "import flowy_activity as a; a.main(lambda n: [n, a.heartbeat(n), a.progress()])"
    environment = dict(os.environ) | {
        "FLOWY_INPUT_FILE": str(tmp_path / "input.json"),
        "FLOWY_RESULT_FILE": str(tmp_path / "result"),
        "PYTHONPATH": str(tmp_path),
    }
    subprocess.run([python, "-c", code], env=environment, check=True)
    assert json.loads((tmp_path / "result").read_text()) == [1, True, None]
