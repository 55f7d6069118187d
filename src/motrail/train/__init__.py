"""Train YOLOX on a dataset: the only room that knows PyTorch."""

from motrail.errors import MissingExtraError

try:
    import torch as _torch  # noqa: F401  (so that its absence is said once, for all that is in here)
except ImportError as _error:
    raise MissingExtraError("torch", "train", _error) from _error
