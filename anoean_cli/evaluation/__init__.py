"""Figures of merit, comparisons of several detectors, reports."""
