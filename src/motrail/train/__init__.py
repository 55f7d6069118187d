"""Train YOLOX on a dataset: the only room that knows PyTorch."""
