"""Datasets: what they are made of, checked and counted."""
