"""A headless Chromium, driven by the DevTools protocol over a pipe: no driver program, no library, no port."""

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

SECONDS: Final = 60

_LOWEST_CONTRAST: Final = """(() => {
  const channels = (color) => color.match(/[0-9.]+/g).map(Number);
  const luminance = (color) => channels(color).slice(0, 3).map((value) => value / 255)
    .map((value) => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
    .reduce((sum, value, at) => sum + value * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = (element) => {
    const color = getComputedStyle(element).backgroundColor;
    return channels(color)[3] === 0 ? behind(element.parentElement) : color;
  };
  let lowest = [21, ""];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const text = texts.currentNode.textContent.trim();
    if (text === "") continue;
    const element = texts.currentNode.parentElement;
    const pair = [luminance(getComputedStyle(element).color), luminance(behind(element))].sort((a, b) => b - a);
    const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
    if (ratio < lowest[0]) lowest = [ratio, text];
  }
  return lowest;
})()"""


def chromium_program() -> str | None:
    """Return Chromium, where there is one."""
    return os.environ.get("PLATEMARK_TEST_CHROMIUM") or shutil.which("chromium")


class Page:
    """One page of a browser; `complaints` are errors and refusals that it wrote to its console."""

    def __init__(self, call: Callable[..., Any], width: int, height: int, complaints: list[str]) -> None:
        self._call = call
        self.complaints = complaints
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            call(f"{domain}.enable")
        call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )

    def open(self, url: str) -> None:
        """Begin to load an address."""
        self._call("Page.navigate", url=url)

    def go_offline(self) -> None:
        """Cut the network off."""
        self._call(
            "Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=-1, uploadThroughput=-1
        )

    def refuse(self, pattern: str) -> None:
        """Let nothing at addresses of this form be loaded; `*` stands for any characters."""
        self._call("Network.setBlockedURLs", urls=[pattern])

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def text(self, selector: str) -> str:
        """Return the text of an element, nothing where there is none."""
        return str(self.evaluate(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def wait_for(self, selector: str, holds: Callable[[str], bool]) -> str:
        """Return an element's text as soon as `holds` is true of it."""
        ends_at = time.monotonic() + SECONDS
        while not holds(found := self.text(selector)):
            assert time.monotonic() < ends_at, f"{selector} stayed {found!r}"
            time.sleep(0.05)
        return found

    def steps(self, verdict: str) -> list[str]:
        """Return `<number> <code>` of the steps that are shown with this verdict."""
        shown = f"[...document.querySelectorAll('[data-verdict={json.dumps(verdict)}]')]"
        return list(self.evaluate(f"{shown}.map(one => `${{one.dataset.step}} ${{one.dataset.code}}`.trim())"))

    def type(self, selector: str, text: str) -> None:
        """Put the keyboard's focus on a field and type into it."""
        self.evaluate(f"document.querySelector({json.dumps(selector)}).focus()")
        self._call("Input.insertText", text=text)

    def press_enter(self) -> None:
        """Press the key Enter where the focus is."""
        for kind in ("keyDown", "keyUp"):
            self._call(
                "Input.dispatchKeyEvent", type=kind, key="Enter", code="Enter", text="\r", windowsVirtualKeyCode=13
            )

    def choose_file(self, selector: str, path: Path) -> None:
        """Choose a file in a file field."""
        field = self._call("Runtime.evaluate", expression=f"document.querySelector({json.dumps(selector)})")
        self._call("DOM.setFileInputFiles", files=[str(path)], objectId=field["result"]["objectId"])

    def prefer(self, scheme: str) -> None:
        """Show pages as somebody has them who prefers a scheme, `light` or `dark`."""
        self._call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def lowest_contrast(self) -> tuple[float, str]:
        """Return the lowest contrast of a text with what is behind it, 1 to 21, and the text (WCAG 2.2, 1.4.3)."""
        ratio, text = self.evaluate(_LOWEST_CONTRAST)
        return float(ratio), str(text)

    def is_wider_than_window(self) -> bool:
        """Whether something would have to be scrolled sideways."""
        return bool(self.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))

    def screenshot(self, path: Path) -> None:
        """Write a picture of the whole page, PNG."""
        answer = self._call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))


class Browser:
    """A running Chromium with a profile of its own."""

    def __init__(self, folder: Path) -> None:
        program = chromium_program()
        assert program is not None
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        # The protocol is spoken on file descriptors 3 and 4, whatever numbers the pipes have here.
        shell = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
        options = ("--headless=new", "--no-sandbox", "--hide-scrollbars", "--disable-dev-shm-usage", "--no-first-run")
        quiet = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-gpu")
        argv = [program, *options, *quiet, "--remote-debugging-pipe", f"--user-data-dir={folder}", "about:blank"]
        self.process = subprocess.Popen(
            ["/bin/bash", "-c", shell, "chromium", *argv],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self._buffer = b""
        self._number = 0
        self._complaints: dict[str, list[str]] = {}

    def page(self, width: int, height: int) -> Page:
        """Return a new page of this size in pixels."""
        target = self.call(None, "Target.createTarget", url="about:blank")["targetId"]
        session = str(self.call(None, "Target.attachToTarget", targetId=target, flatten=True)["sessionId"])
        complaints = self._complaints[session] = []
        return Page(lambda method, **params: self.call(session, method, **params), width, height, complaints)

    def call(self, session: str | None, method: str, **params: Any) -> Any:
        """Return the answer to one command; events that come before it are taken note of."""
        self._number += 1
        number = self._number
        command: dict[str, Any] = {"id": number, "method": method, "params": params}
        if session is not None:
            command["sessionId"] = session
        os.write(self._write, json.dumps(command).encode() + b"\0")
        while (answer := self._next()).get("id") != number:
            self._note(answer)
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def close(self) -> None:
        """End the browser."""
        os.close(self._write)
        self.process.terminate()
        self.process.wait(SECONDS)
        os.close(self._read)

    def _next(self) -> Mapping[str, Any]:
        while b"\0" not in self._buffer:
            data = os.read(self._read, 1 << 20)
            assert data, "Chromium has ended"
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        found: Mapping[str, Any] = json.loads(message)
        return found

    def _note(self, event: Mapping[str, Any]) -> None:
        complaints = self._complaints.get(str(event.get("sessionId")), [])
        params = event.get("params", {})
        if event.get("method") == "Runtime.exceptionThrown":
            complaints.append(json.dumps(params))
        elif event.get("method") == "Log.entryAdded" and params["entry"]["level"] == "error":
            complaints.append(str(params["entry"]["text"]))


@contextmanager
def running_browser(folder: Path) -> Iterator[Browser]:
    """Run a browser while the block lasts."""
    browser = Browser(folder)
    try:
        yield browser
    finally:
        browser.close()
