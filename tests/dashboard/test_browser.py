"""The live page in a real browser: what operator, researcher and visitor do on it."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from calibration.threshold import FACTORS
from streamer.config import GlintConfig
from streamer.dashboard.app import STREAM_PATH, DashboardServer
from streamer.dashboard.desk import Choices, SessionDesk
from streamer.dashboard.live_session import LiveSession
from streamer.dashboard.sink import DashboardSink
from streamer.session import build_pipeline
from streamer.sinks.base import Sink
from streamer.sinks.session_folder import SessionFolderSink
from streamer.sources.discovery import Discovery, FoundSource
from tests.calibration.test_file import CHOSEN
from tests.calibration.test_file import calibration as calibrated
from tests.dashboard.chromium import PATIENCE_MS, chromium
from tests.dashboard.fake_pipeline import FakePipeline

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, ConsoleMessage, Page

pytestmark = pytest.mark.browser

FORGET = """
    if (!sessionStorage.getItem("here")) localStorage.clear();
    sessionStorage.setItem("here", "1");
"""
READ = "localStorage.setItem('glint-caution-1', 'read')"
PIXELS = """() => {
    const image = document.querySelector("#glint-picture img");
    if (!image.naturalWidth) return "";
    const canvas = document.createElement("canvas");
    canvas.width = canvas.height = 32;
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0, 32, 32);
    return Array.from(context.getImageData(0, 0, 32, 32).data).join();
}"""
LIT = f"Math.max(...({PIXELS})().split(',').filter((_, i) => i % 4 < 3))"
TOP = f"Math.max(...({PIXELS})().split(',').filter((_, i) => i % 4 < 3 && i < 1000))"
ALARMS = (60, 40, 28, 20, 14, 10, 7, 4, 2, 1, 0, 0)
CLOSED = '#glint-detections tr[data-state="closed"]'


CAMERA = Choices(source="0", spotter="flow", recognizer="ststnet")


@dataclass
class Lab:
    """A running dashboard; its camera is scripted and four times as fast, its demo is real."""

    url: str
    session: LiveSession
    sink: DashboardSink
    desk: SessionDesk[Any]
    folder: Path

    def begin(self, choices: Choices) -> None:
        """Start as if nobody had been here."""
        self.session.stop()
        self.session.forget_threshold_factor()
        self.sink.hidden = False
        self.sink.apexes.wanted = True
        self.desk.choose(choices)
        self.session.start()


@pytest.fixture(scope="module")
def context() -> Iterator[BrowserContext]:
    """One browser that keeps what it has loaded; the page is a megabyte of scripts."""
    with chromium() as browser:
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        context.set_default_timeout(PATIENCE_MS)
        yield context
        context.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    root = tmp_path_factory.mktemp("lab")
    tried = {"factor": 6.0, "factors": FACTORS, "alarms": ALARMS, "fitted_s": 300.0}
    calibrated(threshold=CHOSEN.model_copy(update=tried)).save(root / "rig.json")
    # Small and slow: a demo that a busy machine draws too late is full of gaps.
    source = {"spec": "0", "fps": 30.0, "width": 320, "height": 240, "seed": 1}
    config = GlintConfig.from_tree({"source": source, "calibration": root / "rig.json"})
    found = Discovery((FoundSource("demo", "portrait"), FoundSource("7", "Webcam")), ())

    def build(config: GlintConfig, sinks: Sequence[Sink], place: Path | None) -> Any:
        written = [] if place is None else [SessionFolderSink(place)]
        if config.source.spec == "demo":
            return build_pipeline(config, [*sinks, *written], folder=place)
        configuration = config.model_dump(mode="json")
        return FakePipeline(
            [*sinks, *written],
            speed=4.0,
            stride=4,
            folder=place,
            configuration=configuration,
            live=True,
        )

    desk = SessionDesk(config, root / "s", build, lambda: found)
    sink = DashboardSink()
    session = LiveSession(desk.build, [sink])
    server = DashboardServer(session, sink, port=0, desk=desk)
    yield Lab(server.start(), session, sink, desk, root / "s")
    session.close()
    server.stop()


@pytest.fixture
def lab(place: Lab) -> Lab:
    """A camera whose events come as scripted; nothing is stored yet."""
    place.begin(CAMERA)
    return place


@pytest.fixture
def demo(place: Lab) -> Lab:
    """Real engines on the real demo."""
    place.begin(replace(CAMERA, source="demo"))
    return place


def is_error(message: ConsoleMessage) -> bool:
    """Whether the page complains; a picture that was hidden just now may still be asked for."""
    return message.type == "error" and "/apexes/" not in message.location["url"]


@pytest.fixture
def visit(context: BrowserContext) -> Iterator[Callable[..., Page]]:
    """Open pages that must run without complaint and fetch nothing from elsewhere."""
    complaints: list[str] = []
    pages: list[Page] = []

    def come(url: str, *, read: bool = True, width: int = 1280, query: str = "") -> Page:
        page = context.new_page()
        page.set_viewport_size({"width": width, "height": 900})
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda m: complaints.append(m.text) if is_error(m) else None)
        page.on(
            "request",
            lambda request: (
                None
                if request.url.startswith((url, "data:", "blob:"))
                else complaints.append(request.url)  # a lab without internet sees the same page
            ),
        )
        page.add_init_script(FORGET)
        if read:
            page.add_init_script(READ)
        page.goto(url + query)
        pages.append(page)
        return page

    yield come
    for page in pages:
        page.close()
    assert not complaints


def wait_for(page: Page, selector: str, text: str) -> None:
    page.locator(selector).filter(has_text=re.compile(text)).first.wait_for()


def open_setup(page: Page) -> None:
    """Open the tab, and wait until the choices that are in force are in its fields."""
    page.get_by_role("tab", name="Setup").click()
    wait_for(page, "#glint-budget", "Factor|Needs a calibration|Set by hand")


def view(page: Page) -> dict[str, float]:
    """Where the timeline stands, read off its axis."""
    ticks = page.locator("#glint-timeline .gt-axis .gt-track span").all_inner_texts()
    seconds = [60 * int(minute) + float(rest) for minute, rest in (t.split(":") for t in ticks)]
    return {"first": min(seconds), "last": max(seconds)}


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_visitor_without_camera_watches_the_demo_beside_its_truth(
    demo: Lab, visit: Callable[..., Page]
) -> None:
    page = visit(demo.url)
    wait_for(page, "#glint-status", "Live")

    # The picture moves.
    page.wait_for_function(f"({PIXELS})().length > 0")
    first = page.evaluate(PIXELS)
    page.wait_for_function(f"(first) => ({PIXELS})() !== first", arg=first)

    # A detection comes to an end, with its face, over the truth.
    closed = page.locator(CLOSED).first
    closed.wait_for()
    assert closed.locator(".gl-kind").inner_text() in ("micro", "macro")
    closed.scroll_into_view_if_needed()
    page.wait_for_function(f"""() => document.querySelector('{CLOSED} img')?.naturalWidth > 0""")
    for lane in ("Truth", "Micro"):
        page.locator(f'#glint-timeline [data-lane="{lane}"] .gt-span').first.wait_for()
    wait_for(page, "#glint-detections summary", "Truth of this source: \\d+ of \\d+ found")
    wait_for(page, "#glint-engines", "ststnet.*onnx")
    for name in ("Frame rate", "Jitter", "Buffers", "Light", "Calibration", "Storage"):
        wait_for(page, "#glint-instruments", name)

    # The threshold follows the slider.
    open_setup(page)
    number = page.locator("#glint-factor input[type=number]")
    number.fill("9.5")
    number.press("Tab")
    page.get_by_role("tab", name="Instruments").click()
    wait_for(page, "#glint-instruments", "Threshold factor\\s*9.5")
    assert demo.session.threshold_factor == 9.5

    # Stop, and look at the demo again by its button.
    page.click("#glint-stop")
    wait_for(page, "#glint-status", "Stopped")
    assert not demo.session.running
    page.click("#glint-demo")
    wait_for(page, "#glint-status", "Live")
    wait_for(page, "#glint-storage", "Not stored")
    info = demo.session.session_info
    page.close()
    assert demo.session.running  # looking away changes nothing in the session
    assert demo.session.session_info is info


def test_nothing_is_stored_before_the_consent_is_confirmed_on_the_page(
    lab: Lab, visit: Callable[..., Page]
) -> None:
    page = visit(lab.url)
    wait_for(page, "#glint-storage", "Not stored")
    assert not lab.folder.exists()
    preview = lab.session.session_info
    open_setup(page)
    page.locator("#glint-subject textarea").fill("P07")
    page.click("#glint-store-now")
    wait_for(page, "#glint-message", "before the subject has consented")
    assert not lab.folder.exists()
    page.get_by_role("button", name="Consent: read the text").click()
    wait_for(page, "#glint-consent", "You may stop at any moment")
    page.get_by_label("The subject has read this text").check()
    page.locator("#glint-confirmed-by textarea").fill("A. R.")
    page.click("#glint-store-now")
    wait_for(page, "#glint-storage", r"Stored: s, subject P07, from 0:\d\d on")
    page.wait_for_function("() => document.querySelector('#glint-store-now').disabled")
    page.locator("#glint-store input:checked").wait_for()
    assert lab.session.session_info is preview  # it has gone on
    wait_for(page, "#glint-engines", "Consent: glint-1, confirmed by A. R.")
    consent = json.loads((lab.folder / "consent.json").read_text())
    assert (consent["confirmed_by"], consent["subject"]) == ("A. R.", "P07")
    assert json.loads((lab.folder / "session.json").read_text())["consent"]["text"] == "glint-1"

    # Another subject has not consented.
    page.locator("#glint-subject textarea").press_sequentially("8")
    page.wait_for_function("() => !document.querySelector('#glint-consented input').checked")

    # What the operator says goes into the folder; the session is taken away as a file.
    page.get_by_role("tab", name="Instruments").click()
    wait_for(page, "#glint-instruments", "Disk")
    page.fill("#glint-who", "AR")
    page.locator("#glint-who").press("Tab")
    page.fill("#glint-mark-text", "stimulus A")
    page.click("#glint-mark")
    wait_for(page, "#glint-timeline .gt-marker", "stimulus A")
    assert [marker["text"] for marker in lines(lab.folder / "markers.jsonl")] == ["stimulus A"]
    page.click("#glint-take-neutral")
    wait_for(page, "#glint-timeline .gt-marker", "neutral face")
    page.locator(CLOSED).last.click()
    page.keyboard.press("y")
    wait_for(page, "#glint-detections .gl-review", "confirmed")
    with page.expect_download() as download:
        page.click("#glint-export")
    names = zipfile.ZipFile(download.value.path()).namelist()
    assert {"annotations.jsonl", "markers.jsonl", "consent.json", "export/elan/s.eaf"} <= set(names)


def test_detections_are_judged_with_keys(lab: Lab, visit: Callable[..., Page]) -> None:
    page = visit(lab.url)
    rows = page.locator(CLOSED)
    rows.nth(2).wait_for()
    page.click("#glint-stop")
    wait_for(page, "#glint-status", "Stopped")
    chosen = page.locator("#glint-detections tr[aria-selected=true]")
    newest = int(page.locator(CLOSED).first.get_attribute("data-id") or 0)
    page.locator(CLOSED).first.click()
    page.keyboard.press("ArrowDown")
    assert chosen.get_attribute("data-id") == str(newest - 1)
    row = page.locator(f'#glint-detections tr[data-id="{newest - 1}"]')
    page.keyboard.press("n")
    wait_for(page, f'#glint-detections tr[data-id="{newest - 1}"]', "rejected")
    page.keyboard.press("u")
    page.wait_for_selector(f'#glint-detections tr[data-id="{newest - 1}"]:not([data-verdict])')
    before = row.locator("td").nth(3).inner_text()
    emotion = "surprise" if "surprise" not in before else "positive"
    label = page.locator(f'[data-emotion="{emotion}"]').inner_text()
    page.keyboard.press(label[label.index("(") + 1])
    wait_for(page, f'#glint-detections tr[data-id="{newest - 1}"]', f"{emotion} was ")
    page.keyboard.press("t")
    page.keyboard.type("n y m <b>bold</b>")  # letters in a field are letters
    page.keyboard.press("Enter")
    wait_for(page, "#glint-detections .gl-said", re.escape("n y m <b>bold</b> (operator)"))
    assert row.get_attribute("data-verdict") is None
    # The timeline shows the same choice, and chooses.
    span = page.locator('#glint-timeline [data-lane="Micro"] .gt-span').first
    span.press("Enter")
    assert chosen.get_attribute("data-id") == span.get_attribute("data-id")


def test_the_timeline_is_zoomed_held_and_moved_back_in_time(
    lab: Lab, visit: Callable[..., Page]
) -> None:
    page = visit(lab.url)
    page.locator(CLOSED).nth(3).wait_for()
    timeline = page.locator("#glint-timeline .gt")
    page.get_by_role("button", name="10 s", exact=True).click()
    page.wait_for_function(
        "() => document.querySelectorAll('#glint-timeline .gt-axis span').length > 5"
    )
    # There must be something before these ten seconds to go back to.
    page.wait_for_function(
        "() => [...document.querySelectorAll('#glint-timeline .gt-axis span')]"
        ".some((label) => parseFloat(label.innerText.split(':')[1]) >= 14)"
    )
    page.locator("#glint-timeline .gt-body").focus()
    page.keyboard.press("Space")
    page.wait_for_selector("#glint-timeline .gt[data-following=false]")
    held = view(page)
    assert held["last"] - held["first"] <= 10
    for _ in range(3):  # a second each: farther than from one label to the next
        page.keyboard.press("ArrowLeft")
    page.wait_for_function(
        "(last) => !document.querySelector('#glint-timeline .gt-axis').innerText.includes(last)",
        arg=f"0:{held['last']:02.0f}",
    )
    back = view(page)
    assert back["last"] < held["last"]
    page.keyboard.press("+")
    page.wait_for_function("() => document.querySelector('#glint-timeline .gt-where').innerText")
    box = page.locator("#glint-timeline canvas").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + 400, box["y"] + 60)
    wait_for(page, "#glint-timeline .gt-readout", "score .* threshold")
    page.mouse.down()
    page.mouse.move(box["x"] + 700, box["y"] + 60, steps=4)
    page.mouse.up()
    page.get_by_role("button", name="Back to live").click()
    page.wait_for_selector("#glint-timeline .gt[data-following=true]")
    assert timeline.get_attribute("data-following") == "true"


def test_the_face_is_hidden_with_a_key_on_every_screen_or_on_ones_own(
    lab: Lab, visit: Callable[..., Page]
) -> None:
    operator, observer = visit(lab.url), visit(lab.url)
    face = observer.locator(f"{CLOSED} .gl-face img").first
    face.wait_for()
    operator.keyboard.press("b")
    for page in (operator, observer):
        wait_for(page, "#glint-hidden", "Hidden on every screen")
    face.wait_for(state="detached")
    observer.wait_for_function(f"() => {TOP} < 60")  # the upper part of the slate is dark
    operator.keyboard.press("b")
    observer.locator("#glint-hidden").wait_for(state="detached")
    face.wait_for()
    observer.wait_for_function(f"() => {TOP} > 60")

    # A viewer's own hiding is his own, and outlives a reload.
    observer.keyboard.press("h")
    wait_for(observer, "#glint-hidden-here", "Hidden on this screen")
    face.wait_for(state="detached")
    observer.wait_for_function(f"() => {TOP} < 60")
    observer.reload()
    wait_for(observer, "#glint-hidden-here", "Hidden on this screen")
    assert "stream" not in (observer.locator("#glint-picture img").get_attribute("src") or "")
    assert operator.locator("#glint-hidden, #glint-hidden-here").count() == 0
    assert not lab.sink.hidden
    observer.get_by_role("button", name="Show here").click()
    observer.locator("#glint-hidden-here").wait_for(state="detached")
    face.wait_for()
    observer.wait_for_function(f"() => {TOP} > 60")

    # Pictures of the apexes are forgotten by a switch; overlays are each viewer's own.
    operator.locator("#glint-thumbnails").uncheck()
    face.wait_for(state="detached")
    assert not any(lab.sink.apexes.has(number) for number in range(1, 50))
    observer.get_by_role("button", name="Heat").click()
    assert "heat" in (observer.locator("#glint-picture img").get_attribute("src") or "")
    assert "arrows" in (operator.locator("#glint-picture img").get_attribute("src") or "")
    observer.wait_for_function(f"({PIXELS})().length > 0")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_visitor_with_a_phone_is_told_once_what_this_does_not_show(
    lab: Lab, visit: Callable[..., Page], theme: str
) -> None:
    page = visit(lab.url, read=False, width=400, query=f"/?__theme={theme}")
    dialog = page.get_by_role("dialog")
    dialog.wait_for()
    assert "not proof of lying" in dialog.inner_text()
    page.get_by_role("button", name="I understand").click()
    dialog.wait_for(state="detached")
    page.locator(CLOSED).first.wait_for()
    # Nothing is wider than the phone.
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    page.get_by_role("tab", name="Setup").click()
    page.locator("#glint-confirmed-by").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    if theme == "light":
        page.reload()
        page.locator(CLOSED).first.wait_for()
        assert dialog.count() == 0


def test_the_accepted_false_alarms_set_the_threshold_under_a_calibration(
    lab: Lab, visit: Callable[..., Page]
) -> None:
    page = visit(lab.url)
    open_setup(page)
    wait_for(page, "#glint-budget", "Factor 6 keeps it on average, by 300 s of neutral footage")
    assert page.locator("#glint-budget input").input_value() == "1"
    page.locator("#glint-budget input").click()
    page.get_by_role("option", name="0.2", exact=True).click()
    wait_for(page, "#glint-budget", r"Factor (?!6 )[\d.]+ keeps it on average")
    chosen = lab.session.threshold_factor
    assert chosen is not None
    assert chosen > 6.0
    assert float(page.locator("#glint-factor input[type=number]").input_value()) == chosen
    # A factor set by hand has no rate.
    page.locator("#glint-factor input[type=number]").fill("9.5")
    page.locator("#glint-factor input[type=number]").press("Tab")
    wait_for(page, "#glint-budget", "Set by hand: how often this factor is wrong is not known")
    assert lab.session.threshold_factor == 9.5


def test_cameras_are_looked_for_from_the_page(lab: Lab, visit: Callable[..., Page]) -> None:
    page = visit(lab.url)
    open_setup(page)
    page.click("#glint-stop")
    wait_for(page, "#glint-status", "Stopped")
    page.click("#glint-look")
    page.wait_for_function("() => !document.querySelector('#glint-look').disabled")
    page.locator("#glint-source input").click()
    page.get_by_role("option", name="7: Webcam").click()
    page.click("#glint-start")
    wait_for(page, "#glint-status", "Live")
    info = lab.session.session_info
    assert info is not None
    assert info.configuration["source"]["spec"] == "7"
    # This camera has no calibration, so nothing is known of its false alarms.
    wait_for(page, "#glint-budget", "Needs a calibration of this camera, light and face")


def test_a_picture_that_no_other_follows_is_shown(lab: Lab, context: BrowserContext) -> None:
    """Chromium waits with a picture for the head of the next one, which must follow at once."""
    lab.session.stop()
    page = context.new_page()
    page.goto(lab.url + "/robots.txt")
    page.set_content(f'<div id="glint-picture"><img src="{STREAM_PATH}"></div>')
    page.wait_for_function(f"() => {LIT} > 60")  # "No session is running" is sent once
    page.close()
