"""These tests need PaddlePaddle: they run in the environment of `make paddle`, by `tests/test_engine_paddle.py`."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("paddle") else ["test_*.py"]
