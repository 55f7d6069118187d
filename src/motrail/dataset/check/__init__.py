"""Find and mend what is wrong with labels."""
