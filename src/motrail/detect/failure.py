"""What a network can do wrong."""

from __future__ import annotations

from motrail.errors import ModelError


class AnswerError(ModelError):
    """A network answered a picture with nonsense.

    Args:
        model: What to call the model, its path mostly.
        reason: What the answer was, without the model's name.
    """

    def __init__(self, model: str, reason: str) -> None:
        super().__init__(f"{model}: {reason}")
        self.reason = reason
