"""Pictures in, boxes out: the detector and the bundles it is loaded from.

`detector.py` is the way in. It takes a network (`onnx.py`) with what is known of it (`bundle.py`;
for a bare file `bare.py`, which asks preset and `metadata.py`), prepares pictures (`letterbox.py`)
and reads its answers (`layouts/`).
"""
