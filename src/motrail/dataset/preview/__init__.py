"""Labels drawn into their pictures."""
