"""A browser to test pages in: Debian's chromium, driven over the WebDriver protocol."""

import base64
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
MISSING = "there is no chromium with chromedriver to open the page in"
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the protocol's name of a reference


class Browser:
    """One headless window.

    Args:
        folder: For the profile; removed by whoever made it.
        width: Of the window, in CSS pixels, as on a phone where it is narrow.
        dark: Whether the person prefers dark pages.
    """

    def __init__(self, folder: Path, width: int = 1280, height: int = 900, dark=False):
        self.process = subprocess.Popen(
            [DRIVER or "chromedriver", "--port=0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert self.process.stdout is not None
        self.output, line = self.process.stdout, ""
        while "successfully on port" not in line:
            line = self.output.readline().decode()
            assert line, "chromedriver did not start"
        port = line.rpartition("port ")[2].strip().rstrip(".")
        self.session = f"http://127.0.0.1:{port}/session"
        flags = (
            "--headless=new --no-sandbox --disable-gpu --allow-file-access-from-files "
            # A webcam that shows a moving picture, and a person who lets it be used.
            "--use-fake-device-for-media-stream --use-fake-ui-for-media-stream"
        )
        options = {"args": [*flags.split(), f"--user-data-dir={folder}"]}
        wanted = {"goog:chromeOptions": options | {"binary": CHROMIUM}}
        wanted["goog:loggingPrefs"] = {"browser": "ALL"}
        made = self._post("", {"capabilities": {"alwaysMatch": wanted}})
        self.session += "/" + made["sessionId"]
        self._post("/timeouts", {"script": 300_000, "pageLoad": 120_000})
        size = {"width": width, "height": height, "deviceScaleFactor": 1}
        self.devtools("Emulation.setDeviceMetricsOverride", **size, mobile=width < 600)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.devtools("Emulation.setEmulatedMedia", features=[scheme])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            request = urllib.request.Request(self.session, method="DELETE")
            urllib.request.urlopen(request, timeout=20).read()
        finally:
            self.process.terminate()
            self.process.wait(20)
            self.output.close()

    def open(self, url: str) -> None:
        self._post("/url", {"url": url})

    def run(self, script: str, *arguments):
        """What the body of an async function returns; it sees the page's names."""
        wrapped = (
            "const done = arguments[arguments.length - 1], given = [...arguments];"
            f"(async () => {{ {script} }})().then((value) => done({{ value }}),"
            "(error) => done({ error: String(error.stack) }))"
        )
        body = {"script": wrapped, "args": list(arguments)}
        result = self._post("/execute/async", body)
        assert "error" not in result, result["error"]
        return result.get("value")

    def wait(self, condition: str, seconds: float = 60) -> None:
        """Until an expression of the page is true."""
        end = time.monotonic() + seconds
        while not self.run(f"return Boolean({condition})"):
            assert time.monotonic() < end, f"not within {seconds} s: {condition}"
            time.sleep(0.05)

    def find(self, selector: str) -> str:
        body = {"using": "css selector", "value": selector}
        return self._post("/element", body)[ELEMENT]

    def click(self, selector: str) -> None:
        self._post(f"/element/{self.find(selector)}/click", {})

    def type(self, selector: str, text: str) -> None:
        """Keys for an element, or the path of a file for an input of files."""
        self._post(f"/element/{self.find(selector)}/value", {"text": text})

    def screenshot(self, path: Path, whole: bool = True) -> None:
        shot = self.devtools("Page.captureScreenshot", captureBeyondViewport=whole)
        Path(path).write_bytes(base64.b64decode(shot["data"]))

    def devtools(self, command: str, **parameters):
        body = {"cmd": command, "params": parameters}
        return self._post("/goog/cdp/execute", body)

    def console(self) -> list[str]:
        """Warnings and errors since the last call."""
        lines = self._post("/se/log", {"type": "browser"})
        return [f"{line['level']}: {line['message']}" for line in lines]

    def _post(self, path: str, body: dict):
        request = urllib.request.Request(
            self.session + path,
            json.dumps(body).encode(),
            {"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=320) as response:
                return json.load(response)["value"]
        except urllib.error.HTTPError as error:
            raise AssertionError(error.read().decode()) from None
