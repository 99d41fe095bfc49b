"""Few known anomalies: 5 to 50 of them beside 5,000 normals of NSL-KDD, by the paper's protocol.

python benchmarks/few_labels.py --jobs 2
"""

from __future__ import annotations

from paper.shared import PROTOCOL, Point, arguments, curve_page, results_of

from anoean_cli.commands.train import DataFlags

NORMALS = 5000
COUNTS = (5, 10, 25, 50)
DETECTORS = "anoean,forest-knn,deep-sad,devnet,random-forest,hist-gradient-boosting,svm,knn"

if __name__ == "__main__":
    given = arguments("few-labels", __doc__ or "", DETECTORS, 5)
    points = [
        Point(str(count), "nsl-kdd", DataFlags(anomaly_fraction=str(count / NORMALS)))
        for count in COUNTS
    ]
    notes = [
        PROTOCOL,
        "",
        "But here the anomalies are as few as said, those for selection included.",
    ]
    title = "NSL-KDD, few known anomalies"
    curve_page(given, title, "known anomalies", results_of(points, given), notes)
