import random
from contextlib import closing

import numpy as np

from streamer.review.pictures import PictureShelf, RecordedPictures
from streamer.sources.base import SourceOptions
from streamer.sources.recording import RecordingSource


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
    shelf = PictureShelf()
    wide, narrow = (shelf.jpeg(recorded / "recording", 5, width) for width in (1920, 64))
    assert len(narrow) < len(wide)
    assert shelf.jpeg(recorded / "recording", 5000, 64) is None
    shelf.close()
