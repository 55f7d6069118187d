"""Pictures in, boxes out: the detector and the bundles it is loaded from."""
