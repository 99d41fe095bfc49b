"""Data sets by name: downloads, files of the user's, made-up rows."""
