"""The cloud on this machine: the same requests, the real work, nothing to pay."""

from motrail.sagemaker.rehearsal.cloud import Rehearsal

__all__ = ["Rehearsal"]
