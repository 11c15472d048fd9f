"""The deployment that Platoon replaces, as it is usually built; the yardstick of `benchmarks.streams`.

A process per camera with its own decoder and its own detector at batch 1, whole frames as BGR, every region
that may be a plate sent as JPEG over HTTP to a server that reads one picture at a time. Weights, input size
and thresholds are Platoon's, threads are as the libraries set them, nothing is slowed down on purpose.
"""
