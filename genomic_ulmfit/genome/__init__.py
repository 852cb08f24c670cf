"""Coordinates and sequence: intervals, TSSs, genomes and tracks. Never imports torch."""
