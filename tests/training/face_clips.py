"""Small clips of a textured face whose mouth corners or brows move, for training tests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import cv2
import numpy as np

from engines.events import EventKind
from engines.motion.canonical import FACE_SIZE
from engines.training.clips import ClipEvent, FaceClip

CLASSES = ("negative", "positive", "surprise")
PLACES = {"negative": (64, 32, 2.0), "positive": (46, 96, -2.0), "surprise": (64, 34, -2.0)}
"""Emotion to where the face moves, and how far down in pixels."""

UNITS = {"negative": (4,), "positive": (12,), "surprise": (1, 2)}
"""Emotion to the action units that a coder would see."""

FPS = 30.0
PERIOD_S = 1.4
MESH = np.random.default_rng(0).uniform(20, 108, (468, 3)).astype(np.float32)


def clip(identity: str, number: int = 0, seconds: float = 4.5) -> FaceClip:
    """A micro-expression of 0.4 s every `PERIOD_S`, emotions in turn."""
    seed = sum(map(ord, identity)) + number
    rng = np.random.default_rng(seed)
    times = np.arange(round(seconds * FPS)) / FPS
    events = [
        ClipEvent(EventKind.MICRO, onset, onset + 0.2, onset + 0.4, emotion, UNITS[emotion])
        for k, onset in enumerate(np.arange(1.0, seconds - 0.6, PERIOD_S).tolist())
        for emotion in [CLASSES[(k + number) % len(CLASSES)]]
    ]
    texture = cv2.GaussianBlur(rng.normal(size=(FACE_SIZE, FACE_SIZE)), (0, 0), 2.5)
    texture = np.clip(120 + 40 * texture / texture.std(), 0, 255).astype(np.float32)
    faces = np.stack([_face(texture, events, t, rng) for t in times])
    restart = np.zeros(len(times), bool)
    restart[0] = True
    return FaceClip(
        name=f"{identity}-{number}",
        identity=identity,
        fps=FPS,
        faces=faces,
        times=times,
        valid=np.ones(len(times), bool),
        restart=restart,
        mesh=MESH,
        events=tuple(events),
    )


def with_depth(shown: FaceClip) -> FaceClip:
    """The same clip beside a depth camera: skin comes out where it moves, by half a millimetre."""
    columns, rows = np.meshgrid(*[np.arange(64, dtype=np.float32)] * 2)
    depth = np.full((len(shown.times), 64, 64), 550, np.float32)
    for event in shown.events:
        x, y, _ = PLACES[event.emotion]
        near = np.exp(-((columns - x / 2) ** 2 + (rows - y / 2) ** 2) / 75)
        phase = (shown.times - event.onset_s) / (event.offset_s - event.onset_s)
        course = 0.25 - 0.25 * np.cos(2 * np.pi * np.clip(phase, 0, 1))
        depth -= course[:, None, None].astype(np.float32) * near
    return replace(shown, depth=depth)


def _face(texture, events, time_s, rng) -> np.ndarray:
    columns, rows = np.meshgrid(*[np.arange(FACE_SIZE, dtype=np.float32)] * 2)
    down = np.zeros_like(rows)
    for event in events:
        phase = (time_s - event.onset_s) / (event.offset_s - event.onset_s)
        if 0 < phase < 1:
            x, y, size = PLACES[event.emotion]
            near = np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / 300)
            down += size * (0.5 - 0.5 * np.cos(2 * np.pi * phase)) * near
    moved = cv2.remap(
        texture, columns, (rows - down).astype(np.float32), cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    noisy = moved + rng.normal(0, 1, moved.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


class FewPeople:
    """A source of made-up people, one clip each."""

    title = "made-up faces"
    synthetic = True
    command = "python -m made_up"
    fingerprint = "0" * 64
    classes = CLASSES
    identities = ("a", "b", "c")

    def __init__(self, *, depth: bool = False) -> None:
        self.splits = {"train": ("a",), "validation": ("b",), "test": ("c",)}
        self._clips = {who: clip(who) for who in self.identities}
        if depth:
            self._clips = {who: with_depth(shown) for who, shown in self._clips.items()}

    def clips(self, identities: Sequence[str]) -> Iterator[FaceClip]:
        for who in self.identities:
            if who in identities:
                yield self._clips[who]
