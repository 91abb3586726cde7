"""What holds for all tests."""

from hypothesis import settings

# A deadline is a timed assertion: it fails when the machine is busy.
settings.register_profile("glint", deadline=None)
settings.load_profile("glint")
