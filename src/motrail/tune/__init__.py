"""Settings found by trying: what is best on your labels, and whether that holds."""
