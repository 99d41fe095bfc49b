"""A model and what is done with it, without torch: scoring, explaining, calibrating, export."""
