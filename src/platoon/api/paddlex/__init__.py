"""PaddleX serving's contracts, for the clients that PP-StructureV3, PaddleOCR-VL and PaddleOCR's SDK already have.

All that is worded as PaddleX words it stands here: what callers may ask, what pages and their Markdown look like, and
who parses documents behind `/layout-parsing`, since whoever does takes these requests and gives these results.
"""
