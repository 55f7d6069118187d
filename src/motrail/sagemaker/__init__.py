"""Amazon SageMaker: the same work on as many machines as needed, rehearsed here beforehand."""
