"""Draw the decision space of a model: the picture of the README, as `evaluate --report` has it.

anoean train --dataset mnist --normal 3 --model digit-3.h5
python benchmarks/decision_space.py digit-3.h5 docs/decision-space.svg
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from anoean_cli import load_model
from anoean_cli.commands.loading import load_again
from anoean_cli.console import Console
from anoean_cli.evaluation.report.charts import Chart
from anoean_cli.evaluation.report.evaluation import Rows, decision_space
from anoean_cli.evaluation.run import score_test_rows

STYLE = """
svg { color-scheme: light dark; --card: #fff; --text: #1a1d21; --edge: #d5d9df;
  --normal: #1c5fae; --seen: #b23c06; --unseen: #7d2a96; }
@media (prefers-color-scheme: dark) { svg { --card: #1e2227; --text: #e9ecef; --edge: #3a414a;
  --normal: #7cb6f6; --seen: #ff9f66; --unseen: #d9a0ee; } }
.card { fill: var(--card); stroke: var(--edge); }
text { fill: var(--text); font: 12px system-ui, sans-serif; }
.normal { fill: var(--normal); } .seen { fill: var(--seen); } .unseen { fill: var(--unseen); }
path { fill-opacity: .75; }
"""
LEGEND = 24  # of its height, below the chart
WIDTH = 480


def main(model_path: str, out: str) -> None:
    model = load_model(model_path)
    dataset = load_again(model.config["dataset"], None, Console())
    rows = Rows.of(model, score_test_rows(model, dataset, with_output=True))
    space = decision_space(model, rows)
    if space is None:
        sys.exit("the detector gives scores and no embeddings: there is no space to draw")
    Path(out).write_text(drawn(space["chart"]), encoding="utf-8")


def drawn(chart: Chart) -> str:
    """An SVG file of dots, one path a series, with a legend below them."""
    height = chart.height + LEGEND
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {chart.width} {height}"'
        f' width="{WIDTH}" height="{WIDTH * height // chart.width}">',
        f"<style>{STYLE}</style>",
        f"<title>{chart.title}</title>",
        f'<rect class="card" width="{chart.width}" height="{height}" rx="6"/>',
        f'<text x="{sum(chart.x.at) / 2}" y="{chart.height - 18}" text-anchor="middle">'
        f"{chart.x.label}</text>",
        f'<text transform="translate(20 {sum(chart.y.at) / 2}) rotate(-90)"'
        f' text-anchor="middle">{chart.y.label}</text>',
    ]
    for series, _ in chart.legend:
        dots = "".join(mark.path for mark in chart.marks if mark.series == series)
        lines.append(f'<path class="{series}" d="{dots}"/>')
    x, y = 20.0, chart.height + 4
    for series, text in chart.legend:
        dot = next(mark.path for mark in chart.marks if mark.series == series)
        at = [float(number) for number in re.findall(r"[\d.]+", dot)[:2]]
        shift = f"translate({x - at[0]:g} {y - at[1]:g})"
        lines.append(f'<path class="{series}" transform="{shift}" d="{dot}"/>')
        lines.append(f'<text x="{x + 8}" y="{y + 5}">{text}</text>')
        x += 30 + 6 * len(text)
    return "\n".join([*lines, "</svg>", ""])


if __name__ == "__main__":
    main(*sys.argv[1:])
