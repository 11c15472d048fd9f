"""A clock for tests, which stands still unless it is set."""


class Clock:
    """Seconds since 1970, as somebody has set them `ahead`; and those that nobody can set."""

    def __init__(self) -> None:
        self.now = 1e9
        self.ahead = 0.0

    def __call__(self) -> float:
        return self.now + self.ahead

    def running(self) -> float:
        """Seconds since some moment before, whatever is set."""
        return self.now
