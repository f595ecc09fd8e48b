"""The data summary's charts."""

import re

from components.lib.data.tally import Histogram
from components.standardize.summary import chart


def test_every_bar_is_drawn_and_those_beyond_the_limit_are_marked() -> None:
    lengths = Histogram("tokens", limit=40)
    for length in (3, 3, 10, 39, 41, 60):
        lengths.add(length)
    figure = chart(lengths)
    tips = re.findall(r"<title>(\d+) (?:to \d+|and more) tokens: (\d+)</title>", figure)
    assert sum(int(count) for _, count in tips) == 6
    over = re.findall(r'class="c-rejects bar"[^>]*><title>(\d+) ', figure)
    assert over == [start for start, _ in tips if int(start) > 40] and 'class="limit"' in figure
    tall = [float(height) for height in re.findall(r'bar"[^>]* height="([\d.]+)"', figure)]
    assert tall[0] == max(tall), "3 and 3 share the highest bar"
