"""Cameras decoded by GStreamer: one pipeline for all of a site, of its own elements or of NVIDIA DeepStream's."""
