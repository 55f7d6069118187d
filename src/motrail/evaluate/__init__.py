"""Measure tracks against the truth: HOTA, CLEAR MOT and identity metrics."""
