"""The MOT challenge: track files, and folders of labelled sequences."""
