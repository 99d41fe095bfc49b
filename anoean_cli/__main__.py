"""``python -m anoean_cli``."""

from anoean_cli.app import main

if __name__ == "__main__":
    main()
