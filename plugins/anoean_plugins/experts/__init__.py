"""Experts beside the encoder of `anoean`: what each sees, and how that moves embeddings."""
