"""The consent to a session: who obtained it, when, and to which text.

`consent.json` in the session folder holds it with the subject's pseudonym and whether pictures
are stored. The subject's name and signature belong into the laboratory's own files, not here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib.resources import files
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streamer.errors import ConfigError

FILE = "consent.json"

VERSION = "glint-1"
"""Version of the text of Glint's own; another text, another version."""

Line = Annotated[str, Field(pattern=r"^[^\x00-\x1f]+$", max_length=200)]


class Consent(BaseModel):
    """A subject's consent.

    Attributes:
        confirmed_by: Who confirms that the subject has consented; the experimenter, mostly.
        confirmed_utc: When it was confirmed.
        text: Version of Glint's text, or what the laboratory calls the form that was signed.
        text_sha256: Hash of Glint's text as it was shown; None for the laboratory's own form.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    confirmed_by: Line
    confirmed_utc: datetime
    text: Line
    text_sha256: str | None = None

    @classmethod
    def now(cls, confirmed_by: str, form: str | None) -> Consent:
        """Return the consent that is confirmed at this moment.

        Args:
            confirmed_by: Who confirms it.
            form: The laboratory's own form; None for Glint's text.

        Raises:
            ConfigError: There is no usable name.
        """
        try:
            return cls(
                confirmed_by=confirmed_by.strip(),
                confirmed_utc=datetime.now(timezone.utc).replace(microsecond=0),
                text=form or VERSION,
                text_sha256=None if form else hashlib.sha256(consent_text().encode()).hexdigest(),
            )
        except ValidationError:
            raise ConfigError(
                "Consent needs the name of who confirms it, in one line of at most 200 characters; "
                "give it and start again."
            ) from None


def consent_text() -> str:
    """Return Glint's own text, as Markdown."""
    return (files("streamer") / "dashboard" / "assets" / "consent.md").read_text(encoding="utf-8")


def consent_document(configuration: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what `consent.json` holds for a session's configuration; None without a consent."""
    consent = configuration.get("consent")
    if consent is None:
        return None
    return {
        **consent,
        "subject": configuration.get("subject"),
        "pictures_stored": bool(configuration.get("recording", {}).get("enabled")),
    }
