"""What holds for the whole suite."""

from hypothesis import settings

# No test asserts a time: a machine that is busy with other things is slow, not wrong.
settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
