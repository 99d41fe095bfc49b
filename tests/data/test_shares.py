"""When a share is said to have grown: power, and the rate of false alarms by exact enumeration."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from anoean_cli.data.shares import FALSE_ALARMS, MORE, Share


@pytest.mark.parametrize("expected", [0.0, 0.05, 0.5])
@pytest.mark.parametrize("now", [5, 20, 100, 2000])
@pytest.mark.parametrize("before", [30, 400])
def test_false_alarms_are_as_rare_as_promised_at_the_limit_itself(expected, now, before):
    """The true share has grown by exactly as much as is allowed."""
    counts = np.arange(now + 1)
    alarm = 0.0
    for seen in range(before + 1):
        chance = binom.pmf(seen, before, expected)
        if chance > 1e-12:
            told = [Share(int(c), now, seen / before).is_more(before, 1) for c in counts]
            alarm += chance * binom.pmf(counts, now, expected + MORE) @ np.array(told)
    assert alarm <= FALSE_ALARMS


def test_large_differences_are_found_in_few_rows_and_smaller_ones_in_many():
    assert not Share(1, 1, 0.0).is_more(1000, 80)
    assert Share(8, 8, 0.0).is_more(1000, 80)
    assert not Share(30, 100, 0.05).is_more(1000, 80)
    assert Share(300, 1000, 0.05).is_more(1000, 80)


@pytest.mark.parametrize("share", [Share(0, 0, 0.0), Share(9, 9, float("nan")), Share(9, 9, 1.0)])
def test_nothing_is_said_of_what_is_not_known(share):
    assert not share.is_more(100, 1)
    assert not Share(50, 50, 0.0).is_more(0, 1)
