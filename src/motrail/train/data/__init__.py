"""What a network learns from: a dataset's pictures, changed at random, in batches."""
