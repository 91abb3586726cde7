"""The routes of the review, on sessions of the real pipeline."""

import io
import json
import os
import shutil
import time
import zipfile
from pathlib import Path

import av
import httpx
import numpy as np
import pytest
from starlette.routing import Mount
from starlette.testclient import TestClient

from streamer.cli import main
from streamer.dashboard.access import AccessGuard
from streamer.dashboard.app import create_app
from streamer.dashboard.live_session import LiveSession
from streamer.dashboard.sink import DashboardSink
from streamer.errors import SessionError
from streamer.review.app import ReviewServer, create_review_app
from streamer.review.desk import ReviewDesk
from streamer.review.elan import write_elan
from streamer.review.library import Library
from streamer.review.session_reader import read_frames, read_session
from tests.dashboard.fake_pipeline import FakePipeline

HERE = "http://127.0.0.1"


@pytest.fixture
def archive(recorded, tmp_path):
    """A recorded session, one without pictures below a folder, and two that did not end well."""
    root = tmp_path / "archive"
    shutil.copytree(recorded, root / "P07", copy_function=os.link)
    for name in ("events.jsonl", "session.json"):  # linked, and not to be written through
        shutil.copy(recorded / name, root / "copy")
        os.replace(root / "copy", root / "P07" / name)
    plain = shutil.ignore_patterns("recording")
    shutil.copytree(recorded, root / "day 2" / "P08", ignore=plain)
    shutil.copytree(recorded, root / "killed", ignore=plain)
    document = json.loads((root / "killed" / "session.json").read_text())
    (root / "killed" / "session.json").write_text(json.dumps({**document, "end_state": "running"}))
    (root / "killed" / "metrics.json").unlink()
    frames = (root / "killed" / "frames.csv").read_bytes()
    (root / "killed" / "frames.csv").write_bytes(frames[: len(frames) // 2])
    for path in (root / "killed").iterdir():
        os.utime(path, (1e9, 1e9))
    (root / "torn").mkdir()
    (root / "torn" / "session.json").write_text('{"version": ')
    (root / "headless").mkdir()
    for name in ("events.jsonl", "frames.csv"):
        shutil.copy(recorded / name, root / "headless" / name)
    return root


@pytest.fixture
def client(archive):
    desk = ReviewDesk(Library([archive]))
    with TestClient(AccessGuard(create_review_app(desk)), base_url=HERE) as client:
        yield client
    desk.close()


def rows(client):
    return {row["place"]: row for row in client.get("/api/sessions").json()["sessions"]}


def key_of(client, name="P07"):
    return rows(client)[f"archive/{name}"]["key"]


def say(client, key, action, **more):
    body = {"action": action, "who": "Ada", **more}
    return client.post(f"/api/sessions/{key}/annotations", json=body)


def refusal(response):
    assert response.status_code == 400, response.text
    return response.json()["error"]


def test_every_session_is_listed_and_what_is_broken_says_why(client, archive):
    listed = rows(client)
    assert list(listed) == [
        *("archive/P07", "archive/day 2/P08", "archive/headless", "archive/killed"),
        "archive/torn",
    ]
    first = listed["archive/P07"]
    assert first["state"] == "finished"
    assert first["subject"] == "P07"
    assert first["pictures"]
    assert first["lost"] == 0
    assert (
        first["events"] == sum(first["kinds"].values()) == len(read_session(archive / "P07").events)
    )
    assert first["duration_s"] == pytest.approx(6, abs=0.1)
    assert first["calibration"] == "not calibrated"
    assert not listed["archive/day 2/P08"]["pictures"]
    assert "cannot be read" in listed["archive/torn"]["reason"]
    assert "no session.json" in listed["archive/headless"]["reason"]
    killed = listed["archive/killed"]
    assert killed["state"] == "broken off"
    assert killed["lost"] is None
    assert "program was killed" in killed["reason"]
    assert client.get(f"/api/sessions/{killed['key']}").json()["events"]
    os.utime(archive / "killed" / "frames.csv")
    assert rows(client)["archive/killed"]["state"] == "running"


def test_a_session_is_opened_with_its_frames(client, archive):
    key = key_of(client)
    session = client.get(f"/api/sessions/{key}").json()
    assert session["recorded"] == [[0, 359]]
    assert session["emotions"][:3] == ["negative", "positive", "surprise"]
    assert [e["id"] for e in session["events"]] == [
        e.id for e in read_session(archive / "P07").events
    ]
    data = client.get(f"/api/sessions/{key}/frames").content
    frames = read_frames(archive / "P07")
    count = len(frames.values)
    assert len(data) == 20 * count
    np.testing.assert_array_equal(np.frombuffer(data, "<f8", count), frames["timestamp"])
    np.testing.assert_array_equal(np.frombuffer(data, "<i4", count, 8 * count), frames["frame"])
    score = np.frombuffer(data, "<f4", count, 12 * count)
    np.testing.assert_array_equal(np.isnan(score), frames["success"] == 0)


def test_the_picture_of_a_frame_was_recorded_or_is_said_to_be_missing(client):
    key = key_of(client)
    picture = client.get(f"/api/sessions/{key}/pictures/100?width=64")
    assert picture.headers["content-type"] == "image/jpeg"
    assert picture.content.startswith(b"\xff\xd8")
    assert "frame 5000" in refusal(client.get(f"/api/sessions/{key}/pictures/5000"))
    plain = key_of(client, "day 2/P08")
    assert "not recorded" in refusal(client.get(f"/api/sessions/{plain}/pictures/100"))
    assert client.get(f"/api/sessions/{key}/pictures/1?width=99999").status_code == 422


def test_a_video_is_shown_if_its_folder_was_named_too(archive, tmp_path):
    for name, place in (("P08", archive / "videos"), ("P09", tmp_path / "elsewhere")):
        place.mkdir()
        with av.open(str(place / "clip.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=60, options={"preset": "ultrafast"})
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for _ in range(360):
                frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="bgr24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        folder = archive / "videos" / name
        shutil.copytree(archive / "day 2" / "P08", folder)
        document = json.loads((folder / "session.json").read_text())
        document["source"].update(kind="video", name=str(place / "clip.mp4"))
        (folder / "session.json").write_text(json.dumps(document))
    desk = ReviewDesk(Library([archive]))
    with TestClient(AccessGuard(create_review_app(desk)), base_url=HERE) as client:
        inside, outside = (key_of(client, f"videos/{name}") for name in ("P08", "P09"))
        assert client.get(f"/api/sessions/{inside}").json()["recorded"] == [[0, 359]]
        assert client.get(f"/api/sessions/{inside}/pictures/359").is_success
        session = client.get(f"/api/sessions/{outside}").json()
        assert session["recorded"] is None
        assert "Name its folder too" in session["no_pictures"]
        assert "no picture" in refusal(client.get(f"/api/sessions/{outside}/pictures/3"))
    desk.close()


def test_corrections_are_appended_and_can_be_taken_back(client, archive):
    key, folder = key_of(client), archive / "P07"
    found = (folder / "events.jsonl").read_bytes()
    first, second = read_session(folder).events[:2]
    say(client, key, "confirm", event=first.id)
    say(client, key, "relabel", event=first.id, emotion="contempt")
    frames = {"onset": 30, "apex": 36, "offset": 45}
    moved = say(client, key, "move", event=second.id, frames=frames).json()
    session = say(client, key, "add", frames={"onset": 200, "apex": 210, "offset": 260}).json()
    added = session["events"][-1]
    assert added["added"]
    assert (added["onset_frame"], added["kind"], added["emotion"]) == (200, "macro", None)
    times = read_frames(folder)["timestamp"]
    assert added["onset_s"] == times[200]
    assert moved["events"][1]["moved"]
    assert moved["events"][1]["kind"] == "micro"
    assert moved["events"][1]["found"]["onset_frame"] == second.onset_frame
    assert say(client, key, "relabel", event=added["id"], emotion="surprise").is_success
    assert say(client, key, "reject", event=added["id"], note="a yawn").is_success

    lines = (folder / "annotations.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["action"] for line in lines] == [
        *("confirm", "relabel", "move", "add", "relabel", "reject")
    ]
    assert {json.loads(line)["who"] for line in lines} == {"Ada"}
    # Take the move back, and the taking back.
    assert not say(client, key, "undo", line=3).json()["events"][1]["moved"]
    assert say(client, key, "undo", line=7).json()["events"][1]["moved"]
    session = say(client, key, "undo", line=4).json()
    assert all(not event["added"] for event in session["events"])
    assert [edit["undone"] for edit in session["edits"]].count(True) == 2
    # A number is not used again, whatever was taken back.
    fresh = say(client, key, "add", frames={"onset": 200, "apex": 210, "offset": 220}).json()
    assert fresh["events"][-1]["id"] == added["id"] + 1
    assert (folder / "events.jsonl").read_bytes() == found


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"action": "relabel", "event": 1}, "needs an emotion"),
        ({"action": "confirm", "event": 99}, "not there any more"),
        ({"action": "undo", "line": 1}, "no line 1"),
        ({"action": "add"}, "times belong to"),
        ({"action": "add", "frames": {"onset": 9, "apex": 5, "offset": 20}}, "onset comes first"),
        ({"action": "add", "frames": {"onset": 9, "apex": 9, "offset": 9}}, "later offset"),
        ({"action": "add", "frames": {"onset": 1, "apex": 2, "offset": 9999}}, "9999 was not"),
        ({"action": "confirm", "event": 1, "who": ""}, "who is not usable"),
        ({"action": "format c:"}, "action is not usable"),
        ({"action": "confirm", "event": 1, "path": "/etc"}, "path is not usable"),
    ],
)
def test_a_correction_that_says_nothing_is_refused(client, archive, body, reason):
    key = key_of(client)
    response = client.post(f"/api/sessions/{key}/annotations", json={"who": "Ada", **body})
    assert reason in refusal(response)
    assert not (archive / "P07" / "annotations.jsonl").exists()


def compare(client, key, **asked):
    return client.post(f"/api/sessions/{key}/comparison", json=asked)


def figures(response):
    assert response.is_success, response.text
    return {row["kind"]: row for row in response.json()["rows"]}


def test_a_session_stands_beside_its_truth_a_file_another_session_and_its_review(
    client, archive, tmp_path
):
    key, events = key_of(client), read_session(archive / "P07").events
    truth = figures(compare(client, key, reference="truth"))
    assert truth["both"]["tp"] == truth["micro"]["tp"] + truth["macro"]["tp"] > 0
    assert truth["both"]["fp_per_min"] == pytest.approx(10 * truth["both"]["fp"], rel=0.02)

    other = compare(client, key, reference="session", session=key_of(client, "day 2/P08"))
    both = figures(other)["both"]
    assert (both["tp"], both["fp"], both["fn"], both["onset_median_s"]) == (len(events), 0, 0, 0)
    assert {each["pair"] for each in other.json()["truths"]} == {
        each["pair"] for each in other.json()["events"]
    }

    csv = f"onset_s,offset_s\n{events[0].onset_s},{events[0].offset_s}\n5.5,5.6\n"
    both = figures(compare(client, key, reference="file", name="ada.csv", text=csv))["both"]
    assert (both["tp"], both["fn"], both["fp"]) == (1, 1, len(events) - 1)

    write_elan(tmp_path / "ada.eaf", read_session(archive / "P07"))
    text = (tmp_path / "ada.eaf").read_text(encoding="utf-8")
    elan = compare(client, key, reference="file", name="ada.eaf", text=text)
    assert figures(elan)["both"]["f1"] == 1
    assert [t["emotion"] for t in elan.json()["truths"]] == [
        e.emotion for e in sorted(events, key=lambda e: e.onset_s)
    ]
    assert figures(elan)["both"]["apex_median_s"] < 0.001

    say(client, key, "reject", event=events[0].id)
    say(client, key, "add", frames={"onset": 0, "apex": 2, "offset": 6})
    both = figures(compare(client, key, reference="found"))["both"]
    assert (both["tp"], both["fp"], both["fn"]) == (len(events) - 1, 1, 1)


@pytest.mark.parametrize("form", ["megc", "elan", "jsonl"])
def test_what_glint_writes_can_be_read_back_as_a_reference(client, archive, form):
    key = key_of(client)
    if form == "jsonl":
        text, name = (archive / "P07" / "events.jsonl").read_text(encoding="utf-8"), "events.jsonl"
    else:
        text = client.get(f"/api/export?to={form}&key={key}").text
        name = {"megc": "megc.csv", "elan": "P07.eaf"}[form]
    both = figures(compare(client, key, reference="file", name=name, text=text))["both"]
    assert (both["f1"], both["fp"]) == (1, 0)


def test_two_reviewers_of_one_session_are_compared(client, archive):
    key, events = key_of(client), read_session(archive / "P07").events
    say(client, key, "reject", event=events[0].id, who="Ada")
    say(client, key, "confirm", event=events[0].id, who="Bob")
    say(client, key, "add", frames={"onset": 0, "apex": 2, "offset": 6}, who="Bob")
    both = figures(compare(client, key, reference="reviewer", name="Bob", who="Ada"))["both"]
    assert (both["tp"], both["fp"], both["fn"]) == (len(events) - 1, 0, 2)


@pytest.mark.parametrize(
    ("asked", "reason"),
    [
        ({"reference": "file", "name": "a.exe", "text": ""}, "ends in .csv"),
        ({"reference": "file", "name": "a.eaf", "text": "<x/>"}, "annotation document of ELAN"),
        ({"reference": "file", "name": "a.csv", "text": "a,b\n1,2\n"}, "is not an expression"),
        ({"reference": "file", "name": "../../etc/passwd", "text": ""}, "ends in .csv"),
        ({"reference": "session", "session": "../P07"}, "not there any more"),
        ({"reference": "/etc/passwd"}, "reference is not usable"),
    ],
)
def test_a_reference_that_cannot_be_read_is_said(client, asked, reason):
    assert reason in refusal(compare(client, key_of(client), **asked))


def test_exports_go_to_the_viewer_and_leave_the_folder_alone(client, archive):
    before = sorted(path.name for path in (archive / "P07").iterdir())
    key, other = key_of(client), key_of(client, "day 2/P08")
    for form, start in {
        "elan": b"<?xml",
        "megc": b"subject,",
        "csv": b"session,",
        "openface": b"frame,",
    }.items():
        response = client.get(f"/api/export?to={form}&key={key}")
        assert response.is_success, response.text
        assert response.content.startswith(start)
        assert "attachment" in response.headers["content-disposition"]
    both = client.get(f"/api/export?to=elan&key={key}&key={other}")
    assert zipfile.ZipFile(io.BytesIO(both.content)).namelist() == ["P07.eaf", "P08.eaf"]
    assert "no export to" in refusal(client.get(f"/api/export?to=doc&key={key}"))
    assert sorted(path.name for path in (archive / "P07").iterdir()) == before


def test_the_report_is_written_and_shown_without_scripts(client, archive):
    key = key_of(client)
    assert "no report yet" in refusal(client.get(f"/api/sessions/{key}/report"))
    assert client.post(f"/api/sessions/{key}/report", json={}).is_success
    page = client.get(f"/api/sessions/{key}/report")
    assert "What was measured" in page.text
    assert page.headers["content-security-policy"].startswith("sandbox; default-src 'none'")
    assert (archive / "P07" / "report.html").is_file()


def test_no_path_from_the_browser_is_followed(client, archive):
    (archive / "secret.txt").write_text("secret")
    for path in (
        *("/assets/..%2f..%2fapp.py", "/assets/%2e%2e/app.py", "/assets/review.html"),
        *("/api/sessions/..", "/api/sessions/%2e%2e%2fsecret.txt", f"/api/sessions/{archive}/P07"),
        *("/api/sessions/x/report", "/api/sessions/x/frames", "/api/sessions/x/pictures/../../1"),
        *("/api/export?to=csv&key=..", "/../../etc/passwd", "/archive/P07/frames.csv"),
    ):
        response = client.get(path)
        assert response.status_code in (400, 404, 422), path
        assert "secret" not in response.text
        assert "def create_review_app" not in response.text


def routes(app):
    for route in app.routes:
        if isinstance(route, Mount):
            yield from routes(route)
        else:
            for method in route.methods:
                yield (
                    method,
                    "/".join("0" if "{" in part else part for part in route.path.split("/")),
                )


def test_every_route_asks_for_the_login(archive):
    desk = ReviewDesk(Library([archive]))
    app = create_review_app(desk)
    guarded = TestClient(AccessGuard(app, ("lab", "secret")), base_url=HERE)
    asked = sorted({*routes(app), ("GET", "/nowhere")})
    assert ("POST", "/api/sessions/0/annotations") in asked
    for method, path in asked:
        assert guarded.request(method, path).status_code == 401, (method, path)
    assert guarded.get("/api/sessions", auth=("lab", "secret")).is_success


def test_the_live_page_shows_its_sessions_behind_its_own_login_and_when_it_rests(archive):
    library = Library([])
    key = library.include(archive / "P07")
    sink, running = DashboardSink(), [True]
    session = LiveSession(FakePipeline, [sink])
    desk = ReviewDesk(library, busy=lambda: running[0])
    app = create_app(session, sink, ("lab", "secret"), review=desk)
    with TestClient(app, base_url=HERE) as client:
        for path in ("/review/", "/review/assets/review.js", "/review/api/sessions"):
            assert client.get(path).status_code == 401
        client.auth = ("lab", "secret")
        assert "Glint review" in client.get("/review/").text
        assert client.get("/review/assets/timeline.js").is_success
        assert [r["key"] for r in client.get("/review/api/sessions").json()["sessions"]] == [key]
        refused = refusal(client.get(f"/review/api/sessions/{key}/frames"))
        assert "A live session runs" in refused
        running[0] = False
        assert client.get(f"/review/api/sessions/{key}/frames").is_success
    session.close()
    desk.close()


def test_other_sites_can_neither_read_nor_annotate(client, archive):
    key = key_of(client)
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 403
    response = client.post(
        f"/api/sessions/{key}/annotations",
        json={"action": "reject", "event": 1, "who": "Eve"},
        headers={"Origin": "http://evil.example"},
    )
    assert response.status_code == 403
    assert not (archive / "P07" / "annotations.jsonl").exists()
    large = {"reference": "file", "name": "a.csv", "text": "x" * 9_000_000}
    assert compare(client, key, **large).status_code == 413


def ended(client, seconds=240):
    until = time.monotonic() + seconds
    while (job := client.get("/api/job").json()["job"])["state"] == "running":
        assert time.monotonic() < until, job
        time.sleep(0.1)
    return job


def test_a_recording_is_analysed_again_beside_the_session(client, archive):
    key = key_of(client)
    asked = {"spotter": "flow", "recognizer": "none", "threshold_factor": 40.0}
    started = client.post(f"/api/sessions/{key}/rerun", json=asked).json()["job"]
    assert (started["state"], started["total"], started["session"]) == ("running", 360, key)
    again = client.post(f"/api/sessions/{key}/rerun", json=asked)
    assert "one at a time" in refusal(again)
    job = ended(client)
    assert (job["state"], job["reason"]) == ("done", "")
    result = rows(client)["archive/P07-flow-c40-none"]
    assert result["key"] == job["result"]
    assert result["origin"] == rows(client)["archive/P07"]["origin"]
    assert result["pictures"]  # those of the first one
    assert client.get(f"/api/sessions/{result['key']}/pictures/3").is_success
    document = read_session(archive / "P07-flow-c40-none").document
    assert document["subject"] == "P07"
    assert document["configuration"]["flow_spotter"]["threshold_factor"] == 40
    assert not (archive / "P07-flow-c40-none" / "recording").exists()
    beside = compare(client, result["key"], reference="session", session=key)
    assert figures(beside)["both"]["fn"] > 0  # a threshold so high finds less

    # One that is ended keeps what it has.
    client.post(f"/api/sessions/{key}/rerun", json=asked)
    assert client.delete("/api/job").is_success
    assert ended(client)["state"] == "stopped"


@pytest.mark.parametrize(
    ("name", "asked", "reason"),
    [
        ("P07", {"spotter": "magic", "recognizer": "none"}, "no engine named 'magic'"),
        ("P07", {"spotter": "flow", "recognizer": "../x"}, "no engine named '../x'"),
        ("P07", {"spotter": "mean", "recognizer": "none", "threshold_factor": 2}, "its network"),
        ("P07", {"spotter": "flow"}, "recognizer is not usable"),
        ("day 2/P08", {"spotter": "flow", "recognizer": "none"}, "no pictures of this session"),
    ],
)
def test_a_rerun_that_cannot_be_says_why(client, name, asked, reason):
    response = client.post(f"/api/sessions/{key_of(client, name)}/rerun", json=asked)
    assert reason in refusal(response)
    assert client.get("/api/job").json() == {"job": None}


def test_the_server_starts_and_stops(archive):
    server = ReviewServer(Library([archive]))
    address = server.start()
    assert "Glint review" in httpx.get(address).text
    server.stop()
    server.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(address)


def test_mistakes_on_the_command_line(archive, capsys, monkeypatch):
    assert main(["review", str(archive / "gone")]) == 2
    assert "There is no folder" in capsys.readouterr().err
    assert main(["review", str(archive), "--host", "0.0.0.0"]) == 2
    assert "needs a login" in capsys.readouterr().err
    assert main(["review"]) == 2
    monkeypatch.setenv("GLINT_LOGIN", "lab")
    assert main(["review", str(archive)]) == 2


def test_what_a_scan_has_not_found_cannot_be_read(archive, tmp_path):
    library = Library([archive / "P07"])
    (found,) = library.scan()
    assert found.place == "P07"
    others = Library([archive])
    hidden = next(each for each in others.scan() if each.path.name == "P08")
    with pytest.raises(SessionError, match="not there any more"):
        library.read(hidden.key)
    assert Path("P07") not in {each.path for each in others.scan()}
