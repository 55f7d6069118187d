"""Find the settings of training that give the best detector."""
