"""The plate reader: its network, how it is trained, measured and written as an ONNX file."""

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
NONE = len(ALPHABET)
"""Class of a position behind the last character."""
POSITIONS = 10
HEIGHT, WIDTH = 64, 192
"""Of a plate as the reader takes it: its four corners stretched to these pixels."""
