"""Labelled records: positives, negatives, splits and baselines. Never imports torch."""
