"""Debian's Firefox to test pages in, driven over its own Marionette protocol.

It needs no geckodriver, which Debian does not have.
"""

import base64
import itertools
import json
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

from tests.reports.browser import Browser

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
MISSING = "there is no Firefox to open the page in"
COMMANDS = {
    "/url": "Navigate",
    "/execute/async": "ExecuteAsyncScript",
    "/element": "FindElement",
    "/element/{id}/click": "ElementClick",
    "/element/{id}/value": "ElementSendKeys",
}
PREFERENCES = """user_pref("marionette.port", 0);
user_pref("datareporting.policy.dataSubmissionEnabled", false);
user_pref("app.normandy.enabled", false);
user_pref("browser.shell.checkDefaultBrowser", false);
"""


class Firefox(Browser):
    """One headless window, which is asked as chromium's is.

    Args:
        folder: For the profile; removed by whoever made it.
    """

    def __init__(self, folder: Path):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "user.js").write_text(PREFERENCES)
        command = [FIREFOX, "--headless", "--marionette", "--profile", str(folder)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        port, end = folder / "MarionetteActivePort", time.monotonic() + 120
        while not (port.exists() and port.read_text()):
            assert time.monotonic() < end, "Firefox did not start"
            time.sleep(0.1)
        self.socket = socket.create_connection(("127.0.0.1", int(port.read_text())))
        self.socket.settimeout(300)
        self.stream, self.numbers = self.socket.makefile("rb"), itertools.count(1)
        self._receive()  # its greeting
        self._command("NewSession", {})
        self._command("SetTimeouts", {"script": 300_000, "pageLoad": 120_000})

    def __exit__(self, *_):
        self.socket.close()
        self.process.terminate()
        self.process.wait(30)

    def run(self, script: str, *arguments):
        """As of chromium. A script of the page's own is what sees all of its names."""
        text = json.dumps(
            f"(async (given) => {{ {script} }})({json.dumps(arguments)}).then("
            "(value) => ({ value }), (error) => ({ error: String(error.stack) }))"
            ".then((all) => { document.body.dataset.done = JSON.stringify(all); });"
        )
        wrapped = f"""
            const done = arguments[arguments.length - 1], {{ body }} = document;
            const run = document.createElement("script");
            new MutationObserver((_, observer) => {{
              observer.disconnect();
              const {{ done: all }} = body.dataset;
              delete body.dataset.done;
              run.remove();
              done(all);
            }}).observe(body, {{ attributeFilter: ["data-done"] }});
            run.textContent = {text};
            body.append(run);"""
        result = json.loads(self._post("/execute/async", {"script": wrapped}))
        assert "error" not in result, result["error"]
        return result.get("value")

    def screenshot(self, path: Path, whole: bool = True) -> None:
        shot = self._command("TakeScreenshot", {"full": whole})["value"]
        Path(path).write_bytes(base64.b64decode(shot))

    def _post(self, path: str, body: dict):
        found = re.fullmatch(r"/element/([^/]+)(/.*)", path)
        if found:
            path, body = "/element/{id}" + found[2], body | {"id": found[1]}
        if path == "/execute/async":
            body = body | {"args": []}
        return self._command(COMMANDS[path], body)["value"]

    def _command(self, name: str, body: dict) -> dict:
        number = next(self.numbers)
        text = json.dumps([0, number, f"WebDriver:{name}", body]).encode()
        self.socket.sendall(b"%d:%s" % (len(text), text))
        kind, answered, error, result = self._receive()
        assert (kind, answered, error) == (1, number, None), error
        return result

    def _receive(self):
        length = b""
        while not length.endswith(b":"):
            length += self.stream.read(1)
        return json.loads(self.stream.read(int(length[:-1])))
