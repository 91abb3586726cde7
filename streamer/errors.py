"""Errors of the streaming side that a user can act on."""

from engines.errors import UserError

__all__ = ["ConfigError", "SessionError", "SourceError", "SourceInterrupted", "UserError"]


class SourceError(UserError):
    """A source cannot be opened or read: missing, empty, unreadable, busy, unreachable."""


class SourceInterrupted(Exception):  # noqa: N818 - an order that was followed, not an error
    """`FrameSource.interrupt` ended a blocked read."""


class ConfigError(UserError):
    """A configuration file or option is wrong."""


class SessionError(UserError):
    """A session folder cannot be created or written."""
