"""Trackers: detections in, identities out. Needs numpy and scipy, nothing else."""
