"""The page of an evaluation: how good the tracks are, where they fail, and what would help."""
