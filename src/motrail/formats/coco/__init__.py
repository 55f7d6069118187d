"""COCO with video fields: the full record of a dataset."""
