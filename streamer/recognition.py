"""Recognition on a thread of its own: an event's clip in, emotion and action units out, once."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future
from dataclasses import replace
from queue import Empty, Full, Queue

from engines.events import Explanation
from engines.recognition.action_units.estimator import ActionUnitEstimator
from engines.recognition.base import EventClip, Explains, Recognition, Recognizer
from streamer.scheduling import give_way

logger = logging.getLogger(__name__)


class PendingRecognition(Future[Recognition]):
    """An answer that is still to come, and after it what carried the answer.

    Attributes:
        explanation: Comes after the answer, so that the answer does not wait for it; None from an
            engine that does not explain.
    """

    def __init__(self) -> None:
        super().__init__()
        self.explanation: Future[Explanation | None] = Future()


class RecognitionThread:
    """Runs a recogniser behind futures; measures the action units where it does not.

    Args:
        recognizer: The engine; used and closed by this thread only.
        depth: Clips that may wait.
    """

    def __init__(self, recognizer: Recognizer, depth: int = 8) -> None:
        self.recognizer = recognizer
        self._measure_units = ActionUnitEstimator()
        self._jobs: Queue[tuple[EventClip, PendingRecognition] | None] = Queue(maxsize=depth)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="glint-recognition", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def submit(self, clip: EventClip, *, wait: bool) -> PendingRecognition | None:
        """Queue a clip.

        Args:
            clip: The event's faces.
            wait: Wait for a place in the queue (files) instead of giving up (live).

        Returns:
            The answer to come; None when the queue is full.
        """
        future = PendingRecognition()
        while not self._stopping.is_set():
            try:
                self._jobs.put((clip, future), timeout=0.2 if wait else 0)
            except Full:
                if not wait:
                    return None
            else:
                return future
        return None

    def close(self) -> None:
        """Finish the clip in hand, give up the others, end the thread. Idempotent."""
        if not self._stopping.is_set():
            self._stopping.set()
            if self._thread.is_alive():
                self._thread.join(timeout=5)
            elif self._thread.ident is None:  # never started
                self.recognizer.close()

    def _answer(self, clip: EventClip, pending: PendingRecognition) -> None:
        """Recognise, and only then explain."""
        try:
            answer = self._recognize(clip)
        except Exception as error:
            logger.exception("recognition failed")
            pending.set_exception(error)
            pending.explanation.cancel()
            return
        pending.set_result(answer)
        explanation = None
        if isinstance(self.recognizer, Explains):
            try:
                explanation = self.recognizer.explain(clip, answer)
            except Exception as error:
                logger.exception("explaining failed")
                pending.explanation.set_exception(error)
                return
        pending.explanation.set_result(explanation)

    def _recognize(self, clip: EventClip) -> Recognition:
        result = self.recognizer.recognize(clip)
        if result.action_units is not None:
            return result
        return replace(result, action_units=self._measure_units(clip))

    def _run(self) -> None:
        give_way()
        while not self._stopping.is_set():
            try:
                job = self._jobs.get(timeout=0.1)
            except Empty:
                continue
            if job is None:
                break
            clip, future = job
            self._answer(clip, future)
        while not self._jobs.empty():
            job = self._jobs.get_nowait()
            if job is not None:
                job[1].cancel()
                job[1].explanation.cancel()
        self.recognizer.close()
