"""Figure 8a of the paper, NSL-KDD: the share of anomalies in training, AnoEAN against SVM.

make reproduce NAME=fig8a
"""

from shared import PROTOCOL, Point, arguments, curve_page, results_of

from anoean_cli.commands.train import DataFlags

SHARES = (0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1)

if __name__ == "__main__":
    given = arguments("fig8a", __doc__ or "", "anoean,anoean:paper,svm,random-forest", 5)
    points = [Point(f"{s:.1%}", "nsl-kdd", DataFlags(anomaly_fraction=str(s))) for s in SHARES]
    notes = [
        PROTOCOL,
        "",
        "But here the anomalies are the named share of the 5,000 normals, not 500.",
    ]
    title = "Figure 8a: NSL-KDD, share of anomalies in training"
    curve_page(given, title, "anomalies / normals", results_of(points, given), notes)
