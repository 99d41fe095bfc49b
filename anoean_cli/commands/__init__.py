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
