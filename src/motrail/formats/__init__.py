"""Labels and results as files."""
