"""Figure 6 of the paper, MNIST 1 against all, each digit once the normal class.

make reproduce NAME=fig6
"""

from shared import PROTOCOL, Point, arguments, curve_page, results_of

from anoean_cli.commands.train import DataFlags

DETECTORS = "anoean,svm,ocsvm,random-forest,knn,gaussian,isolation-forest"
SLOW = "anoean:paper,deep-sad,mlp-classifier,alad,egbad,anogan"

if __name__ == "__main__":
    given = arguments("fig6", __doc__ or "", DETECTORS, 3, slow=SLOW)
    points = [Point(str(digit), "mnist", DataFlags(normal=str(digit))) for digit in range(10)]
    shown = "Four of the nine other digits, drawn by the seed, are in training."
    notes = [PROTOCOL, "", shown]
    curve_page(given, "Figure 6: MNIST, 1 against all", "digit", results_of(points, given), notes)
