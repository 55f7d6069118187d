"""The other side of a server: send frames, videos and jobs, get detections and tracks."""
