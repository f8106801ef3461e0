"""Chromium without a window, asked through its DevTools protocol: a page loads, keys are pressed, and what it did is known."""

import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
START_S = 60.0


class Tab:
    """One page. `complaints` are errors of its script, of its policy, of its console; `requests` the addresses it asked for."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self._loaded = False

    async def open(self, page: Path) -> None:
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self._send(f"{domain}.enable")
        self._loaded = False
        await self._send("Page.navigate", url=page.as_uri())
        while not self._loaded:
            self._note(await self._socket.receive_json(timeout=START_S))

    async def run(self, script: str) -> Any:
        """The value of an expression in the page."""
        answer = await self._send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def press(self, *keys: str) -> None:
        for key in keys:
            text = {"text": key} if len(key) == 1 else {"text": "\r"} if key == "Enter" else {}
            await self._send("Input.dispatchKeyEvent", type="keyDown", key=key, **text)
            await self._send("Input.dispatchKeyEvent", type="keyUp", key=key)

    async def drawn(self) -> None:
        """Until what was done so far has been drawn: what a page puts off to its next frame has been done, too."""
        await self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    async def click(self, selector: str) -> None:
        """Press the mouse in the middle of an element, wherever it lies."""
        box = await self.run(
            f"(() => {{ const e = document.querySelector({selector!r}); e.scrollIntoView({{block: 'center'}});"
            " const b = e.getBoundingClientRect(); return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            await self._send("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    async def prefer(self, scheme: str) -> None:
        await self._send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    async def _send(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            message = await self._socket.receive_json(timeout=START_S)
            if message.get("id") == number:
                assert "error" not in message, message
                result: dict[str, Any] = message["result"]
                return result
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        parameters = message.get("params", {})
        match message.get("method"):
            case "Runtime.exceptionThrown" | "Log.entryAdded":
                self.complaints.append(json.dumps(parameters))
            case "Runtime.consoleAPICalled" if parameters["type"] in {"error", "warning"}:
                self.complaints.append(json.dumps(parameters["args"]))
            case "Network.requestWillBeSent":
                self.requests.append(parameters["request"]["url"])
            case "Page.loadEventFired":
                self._loaded = True


@contextmanager
def chromium() -> Iterator[int]:
    """A browser, for as long as the block runs; the port of its DevTools."""
    assert CHROMIUM is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        process = subprocess.Popen(
            [
                *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"),
                *(f"--user-data-dir={folder}", "--window-size=1280,900", "--no-first-run", "about:blank"),
            ],
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": folder},
        )
        try:
            yield _port(Path(folder))
        finally:
            process.terminate()
            process.wait()


def _port(folder: Path) -> int:
    """Where it listens, which it writes into a file."""
    told = folder / "DevToolsActivePort"
    latest = time.monotonic() + START_S
    while time.monotonic() < latest:
        if told.exists() and (lines := told.read_text().split()):
            return int(lines[0])
        time.sleep(0.05)
    raise TimeoutError("Chromium didn't start")


@asynccontextmanager
async def new_tab(port: int) -> AsyncIterator[Tab]:
    """An empty page of the browser, for as long as the block runs."""
    devtools = f"http://127.0.0.1:{port}/json"
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(START_S)) as session:
        async with session.put(f"{devtools}/new?about:blank") as answer:
            target = await answer.json()
        try:
            async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=1 << 28) as socket:
                yield Tab(socket)
        finally:
            async with session.get(f"{devtools}/close/{target['id']}") as answer:
                await answer.read()
