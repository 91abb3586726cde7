"""The ring against a plain list, one thread at a time and with concurrent readers."""

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamer.frame import Frame
from streamer.ring import FrameRing, Overflow, ring_capacity

SHAPE = (2, 3)
FPS = 100.0


def publish(ring: FrameRing[int], index: int, gap: int = 0) -> bool:
    picture = ring.claim()
    if picture is None:
        return False
    picture[:] = index % 251
    ring.publish(
        Frame(index, index / FPS, None, 0.0, gap, "camera" if gap else "", picture), payload=index
    )
    return True


operations = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, 3)),
        st.tuples(st.just("read"), st.integers(0, 2)),
        st.tuples(st.just("last"), st.integers(0, 30)),
        st.tuples(st.just("window"), st.integers(0, 30)),
        st.tuples(st.just("find"), st.integers(0, 30)),
    ),
    max_size=120,
)


@settings(max_examples=300, deadline=None)
@given(operations, st.integers(2, 9), st.lists(st.integers(0, 5), min_size=3, max_size=3))
def test_dropping_ring_behaves_like_a_list(ops, capacity, keeps):
    ring: FrameRing[int] = FrameRing(capacity, SHAPE, Overflow.DROP_OLDEST)
    keeps = [min(k, capacity - 2) for k in keeps]
    readers = [ring.reader(f"r{i}", keep) for i, keep in enumerate(keeps)]
    written: list[tuple[int, int]] = []  # (frame index, gap)
    position = [0, 0, 0]
    followed_by = [0, 0, 0]
    index = -1
    for op, argument in ops:
        oldest = max(0, len(written) - capacity)
        if op == "write":
            index += 1 + argument
            assert publish(ring, index, argument)
            written.append((index, argument))
            floor = len(written) - capacity
            if floor > 0:
                for r, keep in enumerate(keeps):
                    position[r] = max(position[r], min(floor + keep, len(written) - 1))
        elif op == "read":
            reader = readers[argument]
            if position[argument] == len(written):
                with pytest.raises(TimeoutError):
                    reader.next(timeout=0)
                continue
            slot = reader.next(timeout=0)
            assert slot is not None
            assert slot.intact()
            expected, gap = written[position[argument]]
            assert slot.frame.index == slot.payload == expected
            assert (slot.frame.image == expected % 251).all()
            assert slot.frame.gap_before >= gap
            # Losses of the source and of this reader together explain every missing index.
            assert slot.frame.index == followed_by[argument] + slot.frame.gap_before
            followed_by[argument] = slot.frame.index + 1
            position[argument] += 1
        elif op == "last":
            window = ring.last(argument / FPS)
            if not written:
                assert window is None
                continue
            assert window is not None
            since = written[-1][0] / FPS - argument / FPS
            kept = [w for w in written[oldest:-1] if w[0] / FPS > since] + [written[-1]]
            check_window(window, kept)
        elif op == "window":
            reader = argument % 3
            window = readers[reader].window(argument / FPS)
            kept = [w for w in written[oldest : position[reader]] if w[0] / FPS >= argument / FPS]
            if window is None:
                assert not kept
            else:
                check_window(window, kept)
        else:
            found = ring.find(argument)
            if argument in [w[0] for w in written[oldest:]]:
                assert found is not None
                assert (found == argument % 251).all()
            else:
                assert found is None
    for reader, at in zip(readers, position, strict=True):
        unread = 0
        while True:
            try:
                reader.next(timeout=0)
            except TimeoutError:
                break
            unread += 1
        # Every frame was read, lost and counted, or is unread: none vanished.
        assert unread == len(written) - at


def check_window(window, kept):
    assert window.intact()
    assert [int(i) for i in window.indices] == [w[0] for w in kept]
    assert list(window.payloads) == [w[0] for w in kept]
    assert [bool(g) for g in window.gap_mask] == [w[1] > 0 for w in kept]
    assert [int(image[0, 0]) for image in window.images] == [w[0] % 251 for w in kept]
    np.testing.assert_allclose(window.times_s, [w[0] / FPS for w in kept])


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 8), st.integers(1, 3), st.integers(1, 300), st.integers(0, 6))
def test_waiting_ring_loses_nothing_with_concurrent_readers(capacity, n_readers, n_frames, keep):
    ring: FrameRing[int] = FrameRing(capacity, SHAPE, Overflow.WAIT)
    readers = [ring.reader(f"r{i}", min(keep, capacity - 2)) for i in range(n_readers)]
    seen: list[list[int]] = [[] for _ in readers]
    torn: list[int] = []

    def consume(reader, out):
        while (slot := reader.next(timeout=30)) is not None:
            if not (slot.frame.image == slot.frame.index % 251).all() or not slot.intact():
                torn.append(slot.frame.index)
            out.append(slot.frame.index)
        reader.leave()

    threads = [
        threading.Thread(target=consume, args=pair) for pair in zip(readers, seen, strict=True)
    ]
    for thread in threads:
        thread.start()
    for index in range(n_frames):
        assert publish(ring, index)
    ring.close()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert seen == [list(range(n_frames))] * n_readers
    assert torn == []
    assert all(reader.lost == 0 for reader in readers)


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 8), st.integers(1, 3), st.integers(1, 400))
def test_dropping_ring_counts_every_loss_with_concurrent_readers(capacity, n_readers, n_frames):
    ring: FrameRing[int] = FrameRing(capacity, SHAPE, Overflow.DROP_OLDEST)
    readers = [ring.reader(f"r{i}") for i in range(n_readers)]
    seen: list[list[tuple[int, int]]] = [[] for _ in readers]
    undetected: list[int] = []

    def consume(reader, out):
        while (slot := reader.next(timeout=30)) is not None:
            clean = bool((slot.frame.image == slot.frame.index % 251).all())
            if not clean and slot.intact():
                undetected.append(slot.frame.index)
            out.append((slot.frame.index, slot.frame.gap_before))

    threads = [
        threading.Thread(target=consume, args=pair) for pair in zip(readers, seen, strict=True)
    ]
    for thread in threads:
        thread.start()
    for index in range(n_frames):
        assert publish(ring, index)
    ring.close()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()
    assert undetected == []
    for reader, frames in zip(readers, seen, strict=True):
        assert len(frames) + reader.lost == n_frames
        expected = 0
        for index, gap in frames:
            assert index == expected + gap
            expected = index + 1


def test_a_slow_reader_does_not_hurt_the_others():
    ring: FrameRing[int] = FrameRing(4, SHAPE, Overflow.DROP_OLDEST)
    slow, fast = ring.reader("slow"), ring.reader("fast")
    for index in range(20):
        publish(ring, index)
        slot = fast.next(timeout=0)
        assert slot is not None
        assert slot.frame.index == index
    assert (fast.lost, slow.lost) == (0, 16)
    assert ring.fill == 1.0


def test_overwriting_a_held_picture_is_detected():
    ring: FrameRing[int] = FrameRing(3, SHAPE, Overflow.DROP_OLDEST)
    reader = ring.reader("r")
    publish(ring, 0)
    slot = reader.next(timeout=0)
    window = ring.last(1.0)
    assert slot is not None
    assert window is not None
    assert slot.intact()
    for index in range(1, 3):
        publish(ring, index)
    assert slot.intact()
    assert ring.claim() is not None  # the writer's pen is on the held picture now
    assert not slot.intact()
    assert not window.intact()


def test_close_wakes_a_waiting_writer_and_a_waiting_reader():
    ring: FrameRing[int] = FrameRing(2, SHAPE, Overflow.WAIT)
    ring.reader("never reads")
    publish(ring, 0)
    publish(ring, 1)
    results: list[object] = []
    writer = threading.Thread(target=lambda: results.append(ring.claim()))
    empty: FrameRing[int] = FrameRing(2, SHAPE, Overflow.WAIT)
    waiting = empty.reader("r")
    reader = threading.Thread(target=lambda: results.append(waiting.next(timeout=30)))
    writer.start()
    reader.start()
    ring.close()
    ring.close()
    empty.close()
    writer.join(10)
    reader.join(10)
    assert results == [None, None]


def test_a_reader_that_left_is_not_waited_for():
    ring: FrameRing[int] = FrameRing(2, SHAPE, Overflow.WAIT)
    reader = ring.reader("r")
    reader.leave()
    reader.leave()
    for index in range(10):
        assert publish(ring, index)


def test_capacity_follows_rate_budget_and_window():
    assert ring_capacity(200, budget_s=0.5, window_s=1.0) == 150 + 200 + 2
    with pytest.raises(ValueError, match="at least 2"):
        FrameRing(1, SHAPE, Overflow.WAIT)
    with pytest.raises(ValueError, match="does not fit"):
        FrameRing(4, SHAPE, Overflow.WAIT).reader("r", keep=3)
