"""What a plugin lets escape is told as its failure."""

import pytest

from anoean_cli.errors import PluginError, TrainingError, blaming


@pytest.mark.parametrize(
    ("escapes", "told"),
    [
        (ValueError("two\nlines"), "plugin 'x' failed: ValueError: two lines;"),
        (SystemExit(0), "plugin 'x' failed: SystemExit: 0;"),
    ],
)
def test_the_plugin_is_blamed_in_one_line(escapes, told):
    with pytest.raises(PluginError) as caught, blaming("plugin 'x'"):
        raise escapes
    assert str(caught.value).startswith(told)


@pytest.mark.parametrize("escapes", [TrainingError("as told"), KeyboardInterrupt(), MemoryError()])
def test_what_is_no_fault_of_the_plugin_passes(escapes):
    with pytest.raises(type(escapes)) as caught, blaming("plugin 'x'"):
        raise escapes
    assert caught.value is escapes
