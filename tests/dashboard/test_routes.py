"""What the page's script may ask, on the application itself."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest

from engines.events import Explanation
from streamer.dashboard.app import create_app
from streamer.dashboard.live_session import LiveSession
from streamer.dashboard.routes import MAX_BODY
from streamer.dashboard.sink import DashboardSink
from streamer.sinks.base import Sink
from streamer.sinks.session_folder import SessionFolderSink
from tests.dashboard.fake_pipeline import FakePipeline, astronaut, scripted
from tests.dashboard.test_dashboard_sink import frame

Story = Callable[[httpx.AsyncClient], Awaitable[None]]


@pytest.fixture
def stored(sink: DashboardSink, tmp_path: Path) -> LiveSession:
    """A stored session that has begun and stands still, with one detection."""
    folder = tmp_path / "s"
    live = LiveSession(
        lambda sinks: FakePipeline([*sinks, SessionFolderSink(folder)], frames=0, folder=folder),
        [sink],
    )
    live.start()
    live.stop()
    sink.on_frame(frame(2.0, box=(236.0, 52.0, 104.0, 136.0)))
    sink.apexes.take_from(lambda _: astronaut(), lambda _: None)
    sink.on_event(scripted(0))
    return live


@pytest.fixture
def tell(stored: LiveSession, sink: DashboardSink) -> Callable[[Story], None]:
    app = create_app(stored, sink)
    sink.apexes.take_from(lambda _: astronaut(), lambda _: np.full((128, 128), 90, np.uint8))

    def run(story: Story) -> None:
        async def ask() -> None:
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
                await story(http)

        asyncio.run(ask())

    return run


def test_a_detection_is_judged_and_the_folder_keeps_every_word(
    tell: Callable[[Story], None], sink: DashboardSink, tmp_path: Path
) -> None:
    async def story(http: httpx.AsyncClient) -> None:
        said = {"session": sink.changes().session, "event": 1, "who": "AR"}
        for more in (
            {"action": "confirm"},
            {"action": "relabel", "emotion": "surprise"},
            {"action": "note", "note": "<b>coughed</b>"},
            {"action": "undo"},
        ):
            assert (await http.post("/edits", json={**said, **more})).status_code == 204
        document = (await http.get("/live")).json()
        (event,) = document["events"]
        assert event["verdict"] == "confirmed"
        assert event["emotion"] == "surprise"
        assert event["notes"] == []  # the last word was taken back

    tell(story)
    lines = (tmp_path / "s" / "annotations.jsonl").read_text().splitlines()
    assert [json.loads(line)["action"] for line in lines] == ["confirm", "relabel", "note", "undo"]


def test_what_makes_no_sense_is_refused_in_a_sentence(
    tell: Callable[[Story], None], sink: DashboardSink, tmp_path: Path
) -> None:
    known = {"session": sink.changes().session, "event": 1, "action": "confirm", "who": "AR"}
    refused = [
        ("/edits", {**known, "event": 99}, 404),
        ("/edits", {**known, "session": 7}, 409),
        ("/edits", {**known, "action": "undo"}, 409),
        ("/edits", {**known, "action": "relabel"}, 422),
        ("/edits", {**known, "action": "add"}, 422),
        ("/edits", {**known, "who": ""}, 422),
        ("/edits", {**known, "path": "x"}, 422),
        ("/edits", {"note": "x" * MAX_BODY}, 413),
        ("/markers", {"text": "a", "who": "AR"}, 409),  # nothing runs
        ("/markers", {"text": "", "who": "AR"}, 422),
        ("/neutral", {"who": "AR"}, 409),  # nothing runs
        ("/neutral", {}, 422),
        ("/screen", {"hidden": "perhaps"}, 422),
    ]

    async def story(http: httpx.AsyncClient) -> None:
        for path, body, status in refused:
            response = await http.post(path, json=body)
            assert response.status_code == status, (path, body)
            assert response.json()["error"], (path, body)

    tell(story)
    assert not (tmp_path / "s" / "annotations.jsonl").exists()


def test_the_neutral_face_is_taken_while_a_face_is_followed(sink: DashboardSink) -> None:
    pipelines: list[FakePipeline] = []

    def build(sinks: Sequence[Sink]) -> FakePipeline:
        pipelines.append(FakePipeline([], live=True))
        return pipelines[-1]

    live = LiveSession(build, [sink])
    live.start()
    sink.open(pipelines[0].info)

    async def ask() -> None:
        transport = httpx.ASGITransport(create_app(live, sink))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            sink.on_frame(replace(frame(1.0), success=False))
            refused = await http.post("/neutral", json={"who": "AR"})
            assert refused.status_code == 409
            assert "No face" in refused.json()["error"]
            sink.on_frame(frame(2.0))
            assert (await http.post("/neutral", json={"who": "AR"})).status_code == 204
            markers = (await http.get("/live")).json()["markers"]
            assert [(marker["time_s"], marker["text"]) for marker in markers] == [
                (2.0, "neutral face")
            ]

    try:
        asyncio.run(ask())
        assert pipelines[0].neutral_taken == 1
    finally:
        live.close()


def test_another_sites_page_can_post_nothing(tell: Callable[[Story], None]) -> None:
    async def story(http: httpx.AsyncClient) -> None:
        hidden = {"hidden": True}
        foreign = {"Origin": "http://evil.example"}
        assert (await http.post("/screen", json=hidden, headers=foreign)).status_code == 403
        form = await http.post("/screen", content='{"hidden": true}')
        assert form.status_code == 415
        assert (await http.get("/live")).json()["figures"]["hidden"] is False

    tell(story)


def test_hiding_the_picture_hides_the_apexes_too(
    tell: Callable[[Story], None], sink: DashboardSink
) -> None:
    async def story(http: httpx.AsyncClient) -> None:
        assert (await http.get("/apexes/1/explained.jpg")).status_code == 404
        sink.on_event(replace(scripted(0), explanation=Explanation({"chin": 1.0})))
        assert (await http.get("/live")).json()["events"][0]["explained"] is True
        explained = await http.get("/apexes/1/explained.jpg")
        assert explained.content.startswith(b"\xff\xd8\xff")
        picture = await http.get("/apexes/1.jpg")
        assert picture.content.startswith(b"\xff\xd8\xff")
        assert picture.headers["cache-control"] == "no-store"
        await http.post("/screen", json={"hidden": True})
        assert sink.hidden
        assert (await http.get("/live")).json()["figures"]["hidden"] is True
        for path in ("/apexes/1.jpg", "/apexes/1/explained.jpg"):
            assert (await http.get(path)).status_code == 404
        await http.post("/screen", json={"hidden": False})
        assert (await http.get("/apexes/1.jpg")).status_code == 200
        await http.post("/screen", json={"thumbnails": False})
        assert (await http.get("/apexes/1.jpg")).status_code == 404
        for wrong in ("/apexes/..%2f..%2fetc.jpg", "/apexes/x.jpg"):
            assert (await http.get(wrong)).status_code in (404, 422)

    tell(story)


def test_the_export_holds_numbers_and_no_pictures(
    tell: Callable[[Story], None], sink: DashboardSink, tmp_path: Path
) -> None:
    number = sink.changes().session
    (tmp_path / "s" / "recording").mkdir()
    (tmp_path / "s" / "recording" / "video.nut").write_bytes(b"a face")

    async def story(http: httpx.AsyncClient) -> None:
        await http.post(
            "/edits", json={"session": number, "event": 1, "action": "confirm", "who": "AR"}
        )
        response = await http.get("/export.zip")
        assert response.status_code == 200
        assert 's.zip"' in response.headers["content-disposition"]
        names = zipfile.ZipFile(io.BytesIO(response.content)).namelist()
        assert {"session.json", "events.jsonl", "frames.csv", "annotations.jsonl"} <= set(names)
        assert "export/elan/s.eaf" in names
        assert not any("recording" in name for name in names)

    tell(story)


def test_nothing_stored_is_nothing_to_export(session: LiveSession, sink: DashboardSink) -> None:
    app = create_app(session, sink)

    async def ask() -> int:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http:
            return (await http.get("/export.zip")).status_code

    assert asyncio.run(ask()) == 404
