"""Chromium without a window, asked through its DevTools protocol: a page loads, keys are pressed, and what it did is known."""

import asyncio
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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


@asynccontextmanager
async def browsing() -> AsyncIterator[Tab]:
    """A browser with one empty page, for as long as the block runs."""
    assert CHROMIUM is not None
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        process = await asyncio.create_subprocess_exec(
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0"),
            *(f"--user-data-dir={folder}", "--window-size=1280,900", "--no-first-run", "about:blank"),
            stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "HOME": folder},
        )
        try:
            async with aiohttp.ClientSession() as session:
                async with asyncio.timeout(START_S):
                    port = await _port(Path(folder))
                    address = await _page(session, port)
                async with session.ws_connect(address, max_msg_size=1 << 28) as socket:
                    yield Tab(socket)
        finally:
            process.terminate()
            await process.wait()


async def _port(folder: Path) -> int:
    """Where it listens, which it writes into a file."""
    told = folder / "DevToolsActivePort"
    while True:
        if told.exists() and (lines := told.read_text().split()):
            return int(lines[0])
        await asyncio.sleep(0.05)


async def _page(session: aiohttp.ClientSession, port: int) -> str:
    while True:
        async with session.get(f"http://127.0.0.1:{port}/json/list") as answer:
            for target in await answer.json():
                if target["type"] == "page":
                    return str(target["webSocketDebuggerUrl"])
        await asyncio.sleep(0.05)
