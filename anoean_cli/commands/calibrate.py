from anoean_cli.console import Console


def run(console: Console) -> None:
    """todo"""
