"""Figure 8b of the paper, NSL-KDD: the dimension of the latent space, against EGBAD and ALAD.

make reproduce NAME=fig8b
"""

from shared import PROTOCOL, Point, arguments, curve_page, results_of

from anoean_cli.commands.train import LearningFlags

DIMENSIONS = (2, 4, 8, 16, 32, 64)


def learning(dimension: int) -> LearningFlags:
    """The GANs' latent spaces are parameters of theirs, ours is the decision space."""
    return LearningFlags(latent_dim=dimension, set=[f"latent_dim={dimension}"])


if __name__ == "__main__":
    given = arguments("fig8b", __doc__ or "", "anoean,anoean:paper,egbad,alad", 3)
    points = [Point(str(d), "nsl-kdd", learning=learning(d)) for d in DIMENSIONS]
    title = "Figure 8b: NSL-KDD, dimension of the latent space"
    curve_page(given, title, "dimension", results_of(points, given), [PROTOCOL])
