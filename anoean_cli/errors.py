"""What can go wrong, and the exit status that each kind of failure has at a shell.

Every failure that a user can cause or mend is an :class:`AnoeanError`: one message that names
the culprit (file, line, column, value) and the remedy. Anything else is a bug of ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum


class ExitStatus(IntEnum):
    """Exit statuses of ``anoean``, the same for every command."""

    OK = 0
    BUG = 1
    USAGE = 2
    BAD_DATA = 3
    BAD_FILE = 4
    NO_DATASET = 5
    PLUGIN = 6
    OUTPUT = 7
    TRAINING = 8
    ANOMALIES = 10
    HUNG_UP = 129
    INTERRUPTED = 130
    BROKEN_PIPE = 141
    TERMINATED = 143


class AnoeanError(Exception):
    """Base of all failures that are told to the user in one message."""

    status: ExitStatus = ExitStatus.BUG


class UsageError(AnoeanError, ValueError):
    """An option or argument that cannot be taken as it is.

    It is a ``ValueError`` too, so that library users meet the exception that scikit-learn's
    conventions promise.
    """

    status = ExitStatus.USAGE


class SettingError(UsageError):
    """A plugin parameter that is not there, or cannot have a value.

    Attributes:
        setting: its name, as it was given or as the plugin has it.
    """

    def __init__(self, message: str, setting: str = "") -> None:
        super().__init__(message)
        self.setting = setting


class DataError(AnoeanError, ValueError):
    """Input data that cannot be used; a ``ValueError`` too, as ``UsageError`` is."""

    status = ExitStatus.BAD_DATA


class FileFormatError(AnoeanError):
    """A model, prepared dataset or embeddings file that is damaged, foreign or incompatible."""

    status = ExitStatus.BAD_FILE


class DatasetUnavailableError(AnoeanError):
    """A dataset that is neither on this machine nor to be had."""

    status = ExitStatus.NO_DATASET


class PluginError(AnoeanError):
    """A plugin that is unknown, cannot be loaded or breaks its contract."""

    status = ExitStatus.PLUGIN


class OutputError(AnoeanError):
    """An output that exists already or cannot be written."""

    status = ExitStatus.OUTPUT


class TrainingError(AnoeanError):
    """A training run that collapsed or diverged; no model comes of it."""

    status = ExitStatus.TRAINING


class Terminated(BaseException):
    """SIGTERM or SIGHUP came. Like ``KeyboardInterrupt``, no ``except Exception`` swallows it."""


@contextmanager
def blaming(plugin: str) -> Iterator[None]:
    """Turn what a plugin lets escape into a PluginError that names it.

    SystemExit is among it: a plugin that exits must not end the tool without a word.

    Args:
        plugin: who is to blame, for the message (``"encoder plugin 'conv'"``).
    """
    try:
        yield
    except (AnoeanError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        raise PluginError(f"{plugin} failed: {in_one_line(error)}; --debug shows where") from error


def with_remedy(error: FileFormatError, remedy: str) -> FileFormatError:
    """The same failure with another remedy, which in a message is what follows the last ``; ``."""
    what = str(error).rpartition("; ")[0] or str(error)
    return FileFormatError(f"{what}; {remedy}")


def in_one_line(error: BaseException) -> str:
    """The error's class and message, without line breaks."""
    return f"{type(error).__name__}: {reason_of(error)}"


def reason_of(error: BaseException) -> str:
    """The error's message, without line breaks."""
    return " ".join(str(error).split())


def printable(text: str) -> str:
    """The text on one line, with no character that a terminal would take for a command.

    Names and values come from files that others wrote: what they hold must not move the cursor,
    colour what follows, or look like a line of ours.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)
