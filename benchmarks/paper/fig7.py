"""Figure 7 of the paper, MNIST n against m: a normal class of n digits.

The normal digits are 0 to n − 1: the paper does not say which it took.

make reproduce NAME=fig7
"""

from shared import PROTOCOL, Point, arguments, curve_page, results_of

from anoean_cli.commands.train import DataFlags

DETECTORS = "anoean,svm,ocsvm,random-forest,knn"
SLOW = "anoean:paper,deep-sad,mlp-classifier"

if __name__ == "__main__":
    given = arguments("fig7", __doc__ or "", DETECTORS, 2, slow=SLOW)
    points = [
        Point(str(n), "mnist", DataFlags(normal=",".join(map(str, range(n)))))
        for n in (1, 2, 3, 5, 7, 9)
    ]
    notes = [
        PROTOCOL,
        "",
        "The normal class is the digits 0 to n − 1; max(1, round(4m/9)) of the m others, drawn by "
        "the seed, are in training; with m = 1 there is no unseen type.",
    ]
    title = "Figure 7: MNIST, n against m"
    curve_page(given, title, "n", results_of(points, given), notes)
