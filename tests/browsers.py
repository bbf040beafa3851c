"""The browsers that pages are tested in: Chromium through its driver, Firefox through Mozilla's Marionette client.

Debian has no geckodriver; Firefox speaks the protocol behind it by itself. `Firefox` has as much of Selenium's
interface as the tests use, so that a test is written once.
"""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import io
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

CHROMIUM_FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-dev-shm-usage",
    "--window-size=1280,900",
)
METHODS = {"id": "id", "css selector": "css selector"}
CONSOLE = """
const said = Services.console.getMessageArray().filter((m) => m instanceof Ci.nsIScriptError && !(m.flags & 1)
  && /^(file|http|blob):/.test(m.sourceName || "")).map((m) => `${m.errorMessage} (${m.sourceName}:${m.lineNumber})`);
Services.console.reset();
return said;
"""


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """Chromium without a window; skips where it is not installed."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
    binary = shutil.which("chromium") or shutil.which("google-chrome") or shutil.which("chromium-browser")
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("chromium and chromedriver are not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in CHROMIUM_FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield browser
    finally:
        browser.quit()


@contextlib.contextmanager
def firefox() -> Iterator[Firefox]:
    """Firefox without a window; skips where it is not installed."""
    marionette = pytest.importorskip("marionette_driver.marionette", reason="marionette_driver is not installed")
    binary = shutil.which("firefox-esr") or shutil.which("firefox")
    if binary is None:
        pytest.skip("firefox is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    prefs = {"browser.shell.checkDefaultBrowser": False, "browser.download.always_ask_before_handling_new_types": False}
    with tempfile.TemporaryDirectory() as log:  # without one, the log would lie in the folder the tests are run from
        client = marionette.Marionette(
            bin=binary, headless=True, port=port, app="fxdesktop", prefs=prefs, gecko_log=log
        )
        client.start_session()
        client.set_window_rect(width=1280, height=900)
        try:
            yield Firefox(client)
        finally:
            client.quit()
            client.cleanup()
            # Else it tidies up once more, and loudly, when Python itself goes down.
            client.instance = None


BROWSERS: dict[str, Callable[[], contextlib.AbstractContextManager[Any]]] = {"chromium": chromium, "firefox": firefox}


def download_into(browser: Any, folder: Path) -> None:
    """Save what pages offer in `folder`, without asking."""
    if isinstance(browser, Firefox):
        browser.prefer({"browser.download.folderList": 2, "browser.download.dir": str(folder)})
    else:
        browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(folder)})


def set_width(browser: Any, pixels: int | None) -> None:
    """Show pages this wide, below 500 px as a phone does; None for the window's own width."""
    if isinstance(browser, Firefox):
        browser.set_width(pixels)
    elif pixels is None:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    else:
        metrics = {"width": pixels, "height": 800, "deviceScaleFactor": 1, "mobile": pixels < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def set_view(browser: Any, size: tuple[int, int], *, dark: bool = False, medium: str = "") -> None:
    """Show pages in a window of this width and height, px, as a person with these settings sees them.

    Args:
        medium: `print` for the page as it goes on paper.
    """
    if isinstance(browser, Firefox):
        browser.set_view(size, dark, medium)
        return
    width, height = size
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": medium, "features": [scheme]})


def picture_of(browser: Any, highest: int = 0) -> bytes:
    """What is in the window, as PNG; or the page from its top, down to `highest` px."""
    if isinstance(browser, Firefox):
        return browser.picture(highest)
    if not highest:
        return bytes(browser.get_screenshot_as_png())
    width, height = browser.execute_script(
        "const page = document.documentElement; return [page.clientWidth, page.scrollHeight]"
    )
    clip = {"x": 0, "y": 0, "width": width, "height": min(height, highest), "scale": 1}
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    return base64.b64decode(shot["data"])


def printed(browser: Any) -> bytes:
    """The page on A4, as PDF."""
    if isinstance(browser, Firefox):
        return browser.printed()
    asked = {"paperWidth": 8.27, "paperHeight": 11.69, "preferCSSPageSize": True}
    return base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", asked)["data"])


class Element:
    """An element of a page in Firefox, with Selenium's names."""

    def __init__(self, element: Any) -> None:
        self._element = element

    def __getattr__(self, name: str) -> Any:
        return getattr(self._element, name)

    @property
    def accessible_name(self) -> str:
        """What a screen reader is told."""
        return str(self._element.computed_label)


class Firefox:
    """A tab of Firefox, with as much of Selenium's interface as the tests use."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.switch_to = _Switch(client)

    def get(self, address: str) -> None:
        """Open a page and wait until it is there."""
        self.client.navigate(address)

    def refresh(self) -> None:
        """Load the page again."""
        self.client.refresh()

    def close(self) -> None:
        """Close the tab."""
        self.client.close()

    @property
    def current_window_handle(self) -> str:
        """The tab's name."""
        return str(self.client.current_window_handle)

    def execute_script(self, script: str, *arguments: Any) -> Any:
        """Run a function's body in the page's own world."""
        return self.client.execute_script(script, script_args=list(arguments), sandbox=None)

    def execute_async_script(self, script: str, *arguments: Any) -> Any:
        """Run a function's body in the page's own world; its last argument is called with the answer."""
        return self.client.execute_async_script(script, script_args=list(arguments), sandbox=None)

    def set_script_timeout(self, seconds: float) -> None:
        """How long a script may take."""
        self.client.timeout.script = seconds

    def find_element(self, method: str, target: str) -> Element:
        """The first such element."""
        return Element(self.client.find_element(METHODS[method], target))

    def find_elements(self, method: str, target: str) -> list[Element]:
        """All such elements."""
        return [Element(found) for found in self.client.find_elements(METHODS[method], target)]

    def get_log(self, kind: str) -> list[str]:
        """Errors of pages since the last call: of scripts, and of what their policy forbids."""
        with self.client.using_context("chrome"):
            said: list[str] = self.client.execute_script(CONSOLE)
        return said

    def prefer(self, prefs: dict[str, Any]) -> None:
        """Set the browser's preferences."""
        self.client.set_prefs(prefs)

    def set_width(self, pixels: int | None) -> None:
        """The tab's width; the window itself cannot be as narrow as a phone."""
        with self.client.using_context("chrome"):
            script = "gBrowser.selectedBrowser.style.maxWidth = arguments[0]"
            self.client.execute_script(script, script_args=["" if pixels is None else f"{pixels}px"])

    def set_view(self, size: tuple[int, int], dark: bool, medium: str) -> None:
        """See the function of this name."""
        width, height = size
        self.prefer({"layout.css.prefers-color-scheme.content-override": 0 if dark else 1})
        with self.client.using_context("chrome"):
            self.client.execute_script(
                "const [width, height, medium] = arguments, { selectedBrowser: tab } = gBrowser;"
                "Object.assign(tab.style, { maxWidth: `${width}px`, maxHeight: `${height}px` });"
                "tab.browsingContext.mediumOverride = medium;",
                script_args=[width, height, medium],
            )
        # Room for the browser's own bars; the window itself cannot be as narrow as a phone.
        self.client.set_window_rect(width=max(width, 500) + 20, height=height + 200)

    def picture(self, highest: int) -> bytes:
        """See `picture_of`."""
        if not highest:
            return base64.b64decode(self.client.screenshot(full=False, scroll=False))
        whole = Image.open(io.BytesIO(base64.b64decode(self.client.screenshot(full=True))))
        kept = io.BytesIO()
        whole.crop((0, 0, whole.width, min(whole.height, highest))).save(kept, "PNG")
        return kept.getvalue()

    def printed(self) -> bytes:
        """See the function of this name."""
        page = {"page": {"width": 21.0, "height": 29.7}, "background": False}
        return base64.b64decode(self.client._send_message("WebDriver:Print", page, key="value"))


class _Switch:
    def __init__(self, client: Any) -> None:
        self._client = client

    @property
    def active_element(self) -> Element:
        return Element(self._client.get_active_element())

    def new_window(self, kind: str) -> None:
        self._client.switch_to_window(self._client.open(type=kind, focus=True)["handle"])

    def window(self, handle: str) -> None:
        self._client.switch_to_window(handle)


AXE = """
const done = arguments[arguments.length - 1];
const told = (node) => `${node.target.join(" ")} ${node.html.slice(0, 160)}`;
axe.run(document, { resultTypes: ["violations"], ...arguments[0] }).then(
  (found) => done(found.violations.map((rule) => `${rule.id}: ${rule.nodes.slice(0, 3).map(told).join(" | ")}`)),
  (error) => done([String(error)]));
"""


def axe_source() -> str:
    """The script of axe-core, of the package that ships it for tests; skips where it is not installed."""
    found = importlib.util.find_spec("axe_core_python")
    if found is None or not found.submodule_search_locations:
        pytest.skip("axe-core is not installed: pip install axe-core-python (it is in the extra dev)")
    return (Path(found.submodule_search_locations[0]) / "axe.min.js").read_text(encoding="utf-8")


def accessibility_faults(browser: Any, address: str, source: str, prepare: str = "") -> list[str]:
    """What axe-core finds on a page in Chromium: every rule in light colours, contrast in dark ones, tables on a phone.

    Args:
        source: from `axe_source`.
        prepare: script that is run in the page before, to open what is hidden at first.
    """
    faults: set[str] = set()
    browser.set_script_timeout(600)
    narrow = {"runOnly": ["scrollable-region-focusable"]}
    ways = (("light", 1280, {}), ("dark", 1280, {"runOnly": ["color-contrast"]}), ("light", 375, narrow))
    for scheme, width, rules in ways:
        set_width(browser, width)
        features = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", features)
        browser.get(address)
        browser.execute_script(prepare)
        browser.execute_script(source)
        faults |= {f"{scheme}, {width} px: {fault}" for fault in browser.execute_async_script(AXE, rules)}
    set_width(browser, None)
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    return sorted(faults)
