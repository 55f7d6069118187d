"""What runs inside SageMaker's containers: the entry points `train`, `serve` and `process`.

They know `/opt/ml` and the signals; the work itself is done by the commands that do it anywhere
else, `motrail train`, `motrail serve` and `motrail batch`.
"""
