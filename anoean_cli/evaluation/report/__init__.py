"""A self-contained HTML page of an evaluation or a comparison."""
