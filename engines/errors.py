"""Errors that a user can act on."""


class UserError(Exception):
    """A user's mistake or a condition that the user can mend.

    The message is one sentence that says what happened and what to do next. The command line
    prints it without a traceback and ends with exit code 2.
    """


class EngineError(UserError):
    """An engine cannot be built: unknown name, missing or corrupt model file, wrong shapes."""
