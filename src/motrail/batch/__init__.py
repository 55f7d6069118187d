"""Archives: many or very long videos, detected in chunks by any number of workers, then tracked."""
