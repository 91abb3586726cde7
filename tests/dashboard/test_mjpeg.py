from __future__ import annotations

import asyncio
import io
import itertools
import threading
from collections.abc import AsyncIterator

import cv2
import numpy as np
import PIL.Image
import pytest

from streamer.dashboard.mjpeg import HEAD, STAMP, THREAD_NAME, MjpegBroadcaster

FPS = 200.0


def encoders() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == THREAD_NAME]


class Counting:
    """Pictures whose brightness counts them, captured a second apart; broken ones as planned."""

    captured_s: float | None = None

    def __init__(self, *, last: int = 10**9, broken: int = 0) -> None:
        self._numbers = itertools.count()
        self._last, self._broken = last, broken

    def __call__(self) -> np.ndarray | None:
        number = next(self._numbers)
        if self._broken and number % self._broken:
            raise ValueError("no picture")
        self.captured_s = float(number)
        return None if number > self._last else np.full((16, 16, 3), number % 250, np.uint8)


async def take(stream: AsyncIterator[bytes], parts: int) -> list[bytes]:
    """The next pictures; the head before the first one is passed over."""
    found: list[bytes] = []
    while len(found) < parts:
        if (part := await anext(stream)) != HEAD:
            found.append(part)
    return found


async def end_of_encoder() -> None:
    while encoders():
        await asyncio.sleep(0.001)


def jpeg(part: bytes) -> bytes:
    assert part.endswith(b"\xff\xd9\r\n" + HEAD)
    return part.removesuffix(b"\r\n" + HEAD)


def decoded(part: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(jpeg(part), np.uint8), cv2.IMREAD_COLOR)


def test_viewers_see_whole_new_pictures_encoded_once() -> None:
    opened = itertools.count()

    async def watch() -> None:
        broadcaster = MjpegBroadcaster(lambda: (next(opened), Counting())[1], fps=FPS)
        first, second = broadcaster.stream(), broadcaster.stream()
        seen = await asyncio.gather(take(first, 5), take(second, 5))
        for parts in seen:
            values = [int(decoded(part).mean()) for part in parts]
            assert values == sorted(set(values))
        assert broadcaster.viewers == 2
        assert len(encoders()) == 1
        await first.aclose()  # type: ignore[attr-defined]
        await second.aclose()  # type: ignore[attr-defined]
        await end_of_encoder()

    asyncio.run(watch())
    assert next(opened) == 1


def test_a_slow_viewer_skips_pictures_and_holds_up_nobody() -> None:
    async def watch() -> None:
        broadcaster = MjpegBroadcaster(Counting, fps=FPS)
        slow, fast = broadcaster.stream(), broadcaster.stream()
        (before,) = await take(slow, 1)
        parts = await take(fast, 30)
        (after,) = await take(slow, 1)
        latest = int(decoded(parts[-1]).mean())
        # Viewers are handed a picture in turn, so the slow one may be one behind, but no more.
        assert int(decoded(after).mean()) >= latest - 1 > int(decoded(before).mean()) + 20
        broadcaster.close()

    asyncio.run(watch())
    assert not encoders()


def test_the_encoder_runs_only_while_somebody_watches() -> None:
    async def watch() -> None:
        broadcaster = MjpegBroadcaster(Counting, fps=FPS)
        assert not encoders()
        for _ in range(2):
            stream = broadcaster.stream()
            await take(stream, 2)
            assert len(encoders()) == 1
            await stream.aclose()  # type: ignore[attr-defined]
            await end_of_encoder()
        broadcaster.close()
        broadcaster.close()
        assert [part async for part in broadcaster.stream()] == [HEAD]

    asyncio.run(watch())


def test_a_picture_that_still_holds_is_not_sent_again_but_to_who_comes_late() -> None:
    async def watch() -> None:
        broadcaster = MjpegBroadcaster(lambda: Counting(last=0), fps=FPS)
        stream = broadcaster.stream()
        assert await anext(stream) == HEAD
        (one,) = await take(stream, 1)
        assert await take(broadcaster.stream(), 1) == [one]
        more = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        assert not more.done()
        await asyncio.to_thread(broadcaster.close)
        with pytest.raises(StopAsyncIteration):
            await more

    asyncio.run(watch())


def test_a_picture_bears_the_time_of_its_capture() -> None:
    async def watch() -> None:
        broadcaster = MjpegBroadcaster(Counting, fps=FPS)
        for part in await take(broadcaster.stream(), 3):
            comment = PIL.Image.open(io.BytesIO(jpeg(part))).info["comment"]
            assert comment == STAMP + b"%.6f" % decoded(part).mean()
        broadcaster.close()

    asyncio.run(watch())


def test_a_picture_that_cannot_be_drawn_ends_no_stream() -> None:
    async def watch() -> None:
        broadcaster = MjpegBroadcaster(lambda: Counting(broken=2), fps=FPS)
        assert len(await take(broadcaster.stream(), 3)) == 3
        broadcaster.close()

    asyncio.run(watch())


def test_close_ends_every_stream() -> None:
    async def watch() -> None:
        broadcaster = MjpegBroadcaster(Counting, fps=FPS)

        async def count() -> int:
            return len([part async for part in broadcaster.stream()])

        tasks = [asyncio.create_task(count()) for _ in range(3)]
        await take(broadcaster.stream(), 2)
        await asyncio.to_thread(broadcaster.close)
        assert all(await asyncio.gather(*tasks))

    asyncio.run(watch())
    assert not encoders()
