import random
from contextlib import closing

import av
import cv2
import numpy as np
import pytest

from streamer.errors import SessionError
from streamer.review.pictures import (
    Origin,
    PictureShelf,
    RecordedPictures,
    VideoPictures,
    open_pictures,
)
from streamer.sources.base import SourceOptions
from streamer.sources.recording import RecordingSource
from streamer.sources.video_file import VideoFileSource


def test_any_order_gives_the_pictures_that_were_analysed(recorded):
    source = RecordingSource(str(recorded), SourceOptions(realtime=False))
    info = source.open()
    analysed = {}
    for _ in range(60):
        out = np.empty((info.height, info.width, 3), np.uint8)
        analysed[source.read(out).index] = out
    source.close()
    order = [0, 3, 4, 5, 4, 3, 2, 20, 59, 0, *random.Random(1).choices(range(60), k=40)]
    with closing(RecordedPictures(recorded / "recording")) as pictures:
        for frame in order:
            np.testing.assert_array_equal(pictures.picture(frame), analysed[frame])
        assert pictures.picture(360) is None
        assert pictures.picture(-1) is None


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """Two seconds whose pictures refer to later ones, with few key frames."""
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    with av.open(str(path), "w") as container:
        options = {"bf": "3", "g": "40", "crf": "10", "preset": "ultrafast", "b-pyramid": "none"}
        stream = container.add_stream("libx264", rate=50, options=options)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for number in range(100):
            picture = np.zeros((120, 160, 3), np.uint8)
            picture[:, number : number + 20] = (40, 120, 240)
            picture[number // 2] = 255
            frame = av.VideoFrame.from_ndarray(picture, format="bgr24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def alike(one, other):
    """Two decoders differ by their rounding of colours, two neighbours by much more."""
    return float(np.abs(one.astype(int) - other.astype(int)).mean()) < 0.5


def test_a_video_shows_the_picture_that_was_analysed_under_each_number(video):
    source = VideoFileSource(str(video), SourceOptions(realtime=False))
    info = source.open()
    analysed, out = {}, np.empty((info.height, info.width, 3), np.uint8)
    while (frame := source.read(out)) is not None:
        analysed[frame.index] = out.copy()
    source.close()
    assert len(analysed) == 100
    with closing(VideoPictures(video, np.arange(100))) as pictures:
        for frame in [0, 1, 2, 99, 98, 41, 40, 39, 0, *random.Random(2).choices(range(100), k=30)]:
            picture = pictures.picture(frame)
            assert alike(picture, analysed[frame]), frame
            neighbour = analysed[frame - 1 if frame else 1]
            assert not alike(picture, neighbour)
        assert pictures.picture(100) is None
    with pytest.raises(SessionError, match="fewer than the 120"):
        VideoPictures(video, np.arange(120))


def test_a_folder_shows_its_pictures_in_natural_order(tmp_path):
    for number in (1, 2, 10, 9):
        cv2.imwrite(str(tmp_path / f"img{number}.png"), np.full((20, 20), number, np.uint8))
    analysed = np.array([0, 1, 8, 9])  # seven are missing between the second and the third
    with closing(open_pictures(Origin("folder", tmp_path), analysed)) as pictures:
        assert [pictures.picture(frame)[0, 0, 0] for frame in (9, 0, 8, 1)] == [10, 1, 9, 2]
        assert pictures.picture(5) is None
    with pytest.raises(SessionError, match="taken away"):
        open_pictures(Origin("folder", tmp_path), np.arange(9))


def test_what_a_recording_that_broke_off_still_holds(recorded, tmp_path):
    data = (recorded / "recording" / "video.nut").read_bytes()
    (tmp_path / "video.nut").write_bytes(data[: len(data) // 2])
    times = (recorded / "recording" / "times.csv").read_bytes()
    (tmp_path / "times.csv").write_bytes(times[:-4])
    with closing(RecordedPictures(tmp_path)) as pictures:
        assert len(pictures.frames) == 359
        assert pictures.picture(20) is not None
        assert pictures.picture(350) is None
        assert pictures.picture(21) is not None


def test_pictures_are_made_no_wider_than_asked(recorded):
    shelf, origin = PictureShelf(), Origin("recording", recorded / "recording")
    wide, narrow = (shelf.jpeg(origin, np.arange(360), 5, width) for width in (1920, 64))
    assert len(narrow) < len(wide)
    assert shelf.jpeg(origin, np.arange(360), 5000, 64) is None
    shelf.close()
