"""A researcher's stories in a real browser, on a session of the real pipeline."""

import json
import os
import re
import shutil

import pytest

from streamer.review.app import ReviewServer
from streamer.review.library import Library
from streamer.review.session_reader import read_session

pytestmark = pytest.mark.browser

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "msedge")
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update"),
)
PATIENCE_MS = 120_000
ZOOMED = """() => {
    const [onset, offset] = ["onset", "offset"].map((name) =>
        document.querySelector(`.handle.${name}`).getBoundingClientRect().left);
    return offset - onset > 250;
}"""
SETTLED = """() => fetch(location.pathname).then((answer) => answer.text()).then(() =>
    new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))))"""
FALSE_ALARMS = """(number) =>
    document.querySelectorAll("#comparison tr[data-kind=both] td")[2].textContent === number"""


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on the path")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield browser
        browser.close()


@pytest.fixture
def archive(recorded, tmp_path):
    root = tmp_path / "archive"
    shutil.copytree(recorded, root / "P07", copy_function=os.link)
    plain = shutil.ignore_patterns("recording")
    shutil.copytree(recorded, root / "P08", ignore=plain)
    (root / "torn").mkdir()
    (root / "torn" / "session.json").write_text("{")
    return root


@pytest.fixture
def page(browser, archive):
    server = ReviewServer(Library([archive]))
    address = server.start()
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    complaints, foreign = [], []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    page.on(
        "request",
        lambda request: (
            None
            if request.url.startswith((address, "data:", "blob:"))
            else foreign.append(request.url)
        ),
    )
    page.goto(address)
    page.locator("#sessions tbody tr").first.wait_for()
    yield page
    context.close()
    server.stop()
    assert not complaints
    assert not foreign  # a lab machine without internet shows the same page


def open_session(page, name="P07", who="Ada"):
    page.fill("#who", who)
    page.get_by_role("link", name=f"archive/{name}", exact=True).click()
    page.locator("#events tbody tr").first.wait_for()
    page.locator("#title").click()  # the keys go to the page


def edits(archive, name="P07"):
    text = (archive / name / "annotations.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def saved(page, archive, count, name="P07"):
    """Wait until so many lines are written, and return the last one."""
    page.wait_for_function(
        "(count) => document.querySelectorAll('#history li').length === count", arg=count
    )
    lines = edits(archive, name)
    assert len(lines) == count
    return lines[-1]


def cursor(page):
    return int(page.locator("#readout b").first.inner_text())


def test_sessions_are_listed_filtered_and_opened(page):
    assert page.locator("#list-count").inner_text().startswith("3 found, 1 of them")
    torn = page.locator("#sessions tr", has_text="archive/torn")
    assert "cannot be read" in torn.inner_text()
    page.fill("#filter", "p08")
    assert page.locator("#sessions tbody tr").count() == 1
    page.fill("#filter", "")
    open_session(page, "P08")
    assert "not recorded" in page.locator("#no-picture").inner_text()
    page.click("#back")
    page.locator("#sessions tbody tr").first.wait_for()


def shows(page, frame):
    """Wait for the picture of a frame."""
    page.wait_for_function(
        "(n) => Number(document.querySelector('#picture').dataset.frame) === n", arg=frame
    )


def test_scrubbing_shows_the_picture_of_each_frame(page, archive):
    open_session(page)
    first = read_session(archive / "P07").events[0]
    assert cursor(page) == first.apex_frame
    shows(page, first.apex_frame)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    assert cursor(page) == first.apex_frame + 11
    page.keyboard.press("o")
    assert cursor(page) == pytest.approx(first.onset_frame, abs=1)
    shows(page, cursor(page))

    page.keyboard.press("Home")
    page.select_option("#speed", "0.5")
    page.locator("#title").click()
    page.keyboard.press("Space")
    page.wait_for_function("() => Number(document.querySelector('#readout b').textContent) > 5")
    page.keyboard.press("Space")
    assert page.locator("#play").inner_text() == "Play"
    shows(page, cursor(page))
    page.keyboard.press("b")
    page.locator("#no-picture", has_text="hidden").wait_for()
    assert page.locator("#picture").get_attribute("data-frame") is None

    # The mouse scrubs the score and chooses events.
    before = cursor(page)
    box = page.locator("#timeline .gt-score .gt-track").bounding_box()
    page.mouse.click(box["x"] + box["width"] * 0.1, box["y"] + box["height"] * 0.8)
    assert cursor(page) != before
    last = page.locator("#timeline .gt-span").last
    last.click()
    assert last.get_attribute("aria-label").startswith(
        f"#{page.locator('#events tr[aria-selected=true] td').first.inner_text()} "
    )


def test_events_are_corrected_and_corrections_taken_back(page, archive):
    open_session(page)
    found = (archive / "P07" / "events.jsonl").read_bytes()
    page.keyboard.press("y")
    assert saved(page, archive, 1)["action"] == "confirm"
    page.keyboard.press("3")
    assert saved(page, archive, 2)["emotion"] == "surprise"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("n")
    assert saved(page, archive, 3)["action"] == "reject"
    page.keyboard.press("u")
    assert saved(page, archive, 4)["undoes"] == 3
    page.keyboard.press("Shift+U")
    assert saved(page, archive, 5)["undoes"] == 4
    page.keyboard.press("u")
    assert saved(page, archive, 6)["undoes"] == 3

    # Drag the offset to the right, then move the onset with the keyboard.
    event = read_session(archive / "P07").events[1]
    page.keyboard.press("z")
    handle = page.locator(".handle.offset")
    page.wait_for_function(ZOOMED)
    box = handle.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2 + 60, box["y"] + 20, steps=4)
    page.mouse.up()
    moved = saved(page, archive, 7)
    assert (moved["action"], moved["event"]) == ("move", event.id)
    assert moved["course"]["offset_frame"] > event.offset_frame
    assert moved["course"]["onset_frame"] == pytest.approx(event.onset_frame, abs=1)
    page.locator(".handle.onset").focus()
    page.keyboard.press("ArrowLeft")
    earlier = saved(page, archive, 8)["course"]
    assert earlier["onset_frame"] == moved["course"]["onset_frame"] - 1
    page.locator("#title").click()
    page.keyboard.press("a")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+A")
    assert saved(page, archive, 9)["course"]["apex_frame"] == earlier["apex_frame"] + 1

    # One that was missed.
    page.keyboard.press("End")
    page.keyboard.press("Shift+ArrowLeft")
    page.keyboard.press("i")
    page.keyboard.press("1")
    page.locator("#save").click()
    added = saved(page, archive, 10)
    assert (added["action"], added["emotion"]) == ("add", "negative")
    page.fill("#note", "a twitch")
    page.press("#note", "Enter")
    assert saved(page, archive, 11)["note"] == "a twitch"
    page.keyboard.press("i")
    page.keyboard.press("Escape")

    assert {line["who"] for line in edits(archive)} == {"Ada"}
    assert (archive / "P07" / "events.jsonl").read_bytes() == found
    page.reload()
    page.locator("#events tbody tr").first.wait_for()
    assert "added" in page.locator("#events tbody").inner_text()
    assert "Reviewed by Ada" in page.locator("#events-summary").inner_text()


def test_nobody_corrects_without_a_name(page, archive):
    open_session(page, who="")
    page.keyboard.press("y")
    page.locator(".toast.error", has_text="Say who reviews").wait_for()
    assert not (archive / "P07" / "annotations.jsonl").exists()


def test_a_session_is_set_beside_truth_and_an_annotators_file(page, archive, tmp_path):
    open_session(page)
    events = read_session(archive / "P07").events
    page.select_option("#reference", "truth")
    both = page.locator("#comparison tr[data-kind=both] td")
    both.first.wait_for()
    assert int(both.nth(1).inner_text()) > 0
    assert page.locator("#timeline [data-lane=Reference] .gt-span").count() > 0
    file = tmp_path / "ada.csv"
    file.write_text(
        "onset_s,apex_s,offset_s\n"
        f"{events[0].onset_s},{events[0].apex_s},{events[0].offset_s}\n5.7,5.75,5.8\n"
    )
    with page.expect_file_chooser() as chooser:
        page.select_option("#reference", "file")
    chooser.value.set_files(file)
    page.locator("#comparison b", has_text="ada.csv").wait_for()
    assert [both.nth(n).inner_text() for n in (1, 2, 3)] == ["1", str(len(events) - 1), "1"]
    missed = page.locator("#comparison tr.at", has_text="FN")
    missed.click()
    assert cursor(page) == pytest.approx(5.75 * 60, abs=1)
    # A correction changes the comparison at once.
    page.locator("#events tbody tr").last.click()
    page.locator("#title").click()
    page.keyboard.press("n")
    page.wait_for_function(FALSE_ALARMS, arg=str(len(events) - 2))
    page.click("#drop")
    page.locator("#timeline [data-lane=Reference]").wait_for(state="detached")


def test_a_question_overtakes_one_that_is_not_answered_yet(page, archive):
    open_session(page)
    with page.expect_response("**/comparison"):
        page.select_option("#reference", "truth")
    page.locator("#timeline [data-lane=Reference]").wait_for()
    waiting = []
    page.route("**/comparison", lambda route: waiting.append(route))  # noqa: PLW0108 - Playwright asks for its signature
    page.locator("#events tbody tr").last.click()
    page.locator("#title").click()
    page.keyboard.press("n")  # asks again
    while not waiting:
        page.wait_for_timeout(10)
    page.click("#drop")
    assert len(waiting) == 1
    with page.expect_response("**/comparison"):
        waiting[0].continue_()
    page.evaluate(SETTLED)
    assert page.locator("#timeline [data-lane=Reference]").count() == 0
    assert page.locator("#drop").is_hidden()


def test_a_recording_is_analysed_again_and_compared(page, archive):
    open_session(page)
    page.click("#tab-rerun")
    page.select_option("#rerun [name=recognizer]", "none")
    page.fill("#rerun [name=threshold_factor]", "30")
    page.click("#rerun button")
    page.locator("#comparison table").first.wait_for()
    assert page.locator("#title").inner_text() == "archive/P07-flow-c30-none"
    assert re.search(r"#/\w+/with/\w+$", page.url)
    assert page.locator("#comparison b", has_text="archive/P07").count() == 1
    assert page.locator("#picture").is_visible()  # of the first session's recording


def test_report_and_exports_are_a_click_away(page, archive):
    open_session(page)
    page.click("#tab-out")
    page.click("#report button")
    page.locator("#report-link").wait_for()
    with page.context.expect_page() as opened:
        page.click("#report-link")
    opened.value.locator("text=What was measured").wait_for()
    opened.value.close()
    assert (archive / "P07" / "report.html").is_file()
    with page.expect_download() as download:
        page.click("#exports [data-to=elan]")
    assert download.value.suggested_filename == "P07.eaf"
    page.click("#back")
    page.locator("#all").check()
    page.select_option("#export-many [name=to]", "csv")
    with page.expect_download() as download:
        page.click("#export-many button")
    assert download.value.suggested_filename == "events.csv"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_phone_shows_it_without_scrolling_sideways(page, browser, theme):
    context = browser.new_context(viewport={"width": 420, "height": 900}, color_scheme=theme)
    phone = context.new_page()
    phone.goto(page.url)
    phone.locator("#sessions tbody tr").first.wait_for()
    assert phone.evaluate("document.documentElement.scrollWidth") == 420
    open_session(phone)
    phone.select_option("#reference", "truth")
    phone.locator("#comparison table").first.wait_for()
    assert phone.evaluate("document.documentElement.scrollWidth") == 420
    context.close()
