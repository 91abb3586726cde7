from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator

import cv2
import numpy as np

from streamer.dashboard.mjpeg import BOUNDARY, THREAD_NAME, MjpegBroadcaster

FPS = 200.0


def encoders() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == THREAD_NAME]


def counting() -> object:
    numbers = itertools.count()
    return lambda: np.full((16, 16, 3), next(numbers) % 250, np.uint8)


async def take(stream: AsyncIterator[bytes], parts: int) -> list[bytes]:
    return [await anext(stream) for _ in range(parts)]


async def end_of_encoder() -> None:
    while encoders():
        await asyncio.sleep(0.001)


def decoded(part: bytes) -> np.ndarray:
    head, _, body = part.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"--" + BOUNDARY.encode()
    assert lines[2] == b"Content-Length: %d" % (len(body) - 2)
    return cv2.imdecode(np.frombuffer(body[:-2], np.uint8), cv2.IMREAD_COLOR)


def test_viewers_see_whole_new_pictures_encoded_once() -> None:
    opened = itertools.count()

    async def watch() -> None:
        broadcaster = MjpegBroadcaster(lambda: (next(opened), counting())[1], fps=FPS)  # type: ignore[arg-type, return-value]
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
        broadcaster = MjpegBroadcaster(counting, fps=FPS)  # type: ignore[arg-type]
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
        broadcaster = MjpegBroadcaster(counting, fps=FPS)  # type: ignore[arg-type]
        assert not encoders()
        for _ in range(2):
            stream = broadcaster.stream()
            await take(stream, 2)
            assert len(encoders()) == 1
            await stream.aclose()  # type: ignore[attr-defined]
            await end_of_encoder()
        broadcaster.close()
        broadcaster.close()
        assert [part async for part in broadcaster.stream()] == []

    asyncio.run(watch())


def test_a_picture_that_still_holds_is_sent_again() -> None:
    async def watch() -> None:
        pictures = iter([np.full((16, 16, 3), 77, np.uint8)])
        broadcaster = MjpegBroadcaster(lambda: lambda: next(pictures, None), fps=FPS)
        one, two = await take(broadcaster.stream(), 2)
        assert one == two
        late = await take(broadcaster.stream(), 1)
        assert late == [one]
        broadcaster.close()

    asyncio.run(watch())


def test_a_picture_that_cannot_be_drawn_ends_no_stream() -> None:
    def broken() -> object:
        numbers = itertools.count()

        def draw() -> np.ndarray:
            if next(numbers) % 2:
                raise ValueError("no picture")
            return np.zeros((16, 16, 3), np.uint8)

        return draw

    async def watch() -> None:
        broadcaster = MjpegBroadcaster(broken, fps=FPS)  # type: ignore[arg-type]
        assert len(await take(broadcaster.stream(), 3)) == 3
        broadcaster.close()

    asyncio.run(watch())


def test_close_ends_every_stream() -> None:
    async def watch() -> None:
        broadcaster = MjpegBroadcaster(counting, fps=FPS)  # type: ignore[arg-type]

        async def count() -> int:
            return len([part async for part in broadcaster.stream()])

        tasks = [asyncio.create_task(count()) for _ in range(3)]
        await take(broadcaster.stream(), 2)
        await asyncio.to_thread(broadcaster.close)
        assert all(await asyncio.gather(*tasks))

    asyncio.run(watch())
    assert not encoders()
