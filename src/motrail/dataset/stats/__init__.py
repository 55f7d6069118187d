"""Count and measure a dataset, and draw what was found."""
