"""SageMaker Ground Truth's video object tracking jobs."""
