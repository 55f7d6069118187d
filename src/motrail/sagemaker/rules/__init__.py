"""What a request must obey before it is sent: the service's own model, and rules that no model has.

`check` is the only way in. A rule is one function in one of the modules here, see `rule.py`.
"""

from motrail.sagemaker.rules.checking import RULES, check

__all__ = ["RULES", "check"]
