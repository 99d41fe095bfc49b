"""A module for each command, and what they share; `COMMANDS` are their names, in order of help."""

COMMANDS = (
    "prepare",
    "train",
    "calibrate",
    "score",
    "evaluate",
    "compare",
    "export",
    "info",
    "plugins",
)
"""The modules here that are commands, in the order of ``--help``."""
