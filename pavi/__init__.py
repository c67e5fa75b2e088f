"""Metric client: what a searched program calls to report its scalars."""
