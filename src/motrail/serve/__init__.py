"""One server for every deployment: frames, sessions, videos and jobs, in SageMaker's contract."""
