"""One vocabulary of emotions for all data sets, and the sets of classes that papers use.

Three classes are those of MEGC 2019 (See et al., "MEGC 2019 – the second facial micro-expressions
grand challenge", FG 2019): *negative* pools anger, contempt, disgust, fear, repression and
sadness; what is neither positive nor surprise is left out. Its composite took 145 clips of
CASME II; the coding file has more that the rule would take (sadness and fear among them).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

EMOTIONS = (
    "anger",
    "contempt",
    "disgust",
    "fear",
    "happiness",
    "negative",
    "others",
    "positive",
    "repression",
    "sadness",
    "surprise",
)
"""Every emotion that an event can have. `negative` and `positive` are all that some coders say."""

_SYNONYMS: Mapping[str, str] = {
    "angry": "anger",
    "disgusted": "disgust",
    "happy": "happiness",
    "other": "others",
    "sad": "sadness",
    "surprised": "surprise",
}

THREE: Mapping[str, str] = {
    **dict.fromkeys(
        ("anger", "contempt", "disgust", "fear", "negative", "repression", "sadness"),
        "negative",
    ),
    **dict.fromkeys(("happiness", "positive"), "positive"),
    "surprise": "surprise",
}


def emotion_of(word: str) -> str | None:
    """The emotion that a coder's word names; None for an unknown word."""
    plain = word.strip().casefold()
    emotion = _SYNONYMS.get(plain, plain)
    return emotion if emotion in EMOTIONS else None


def as_they_are(emotions: Iterable[str]) -> Mapping[str, str]:
    """A set of classes that are emotions themselves."""
    return {emotion: emotion for emotion in emotions}
