"""Requests to AWS as pure functions: plain data in, a checked-before-sent `Request` out."""
