"""What is set of captions."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator

from platoon.settings.section import Seconds, Section

MOST_FRAMES = 32
"""A sequence of JPEG files with more is cut by vLLM without a word."""


class CaptionSettings(Section):
    """What a vision-language model is asked about video, and where."""

    url: str | None = Field(default=None, pattern=r"^https?://[^\s?#@]+$")
    """Where an OpenAI-compatible server has the model, as `http://host:port`; none: nothing is captioned."""
    model: str | None = Field(default=None, min_length=1, max_length=256)
    """Its name there; none: the first that the server lists."""
    key: SecretStr | None = None
    """The key that it wants; best given as `PLATOON_CAPTIONS__KEY`."""
    prompt: str = Field(default="Describe what happens in this video, in one or two sentences.", min_length=1)
    """What it is asked about each segment."""
    camera_prompts: Mapping[str, Annotated[str, Field(min_length=1)]] = Field(default_factory=dict)
    """The same for single cameras, by their ids."""
    cameras: tuple[str, ...] = ()
    """Ids of the cameras that `platoon run` captions; none: all."""
    every: float = Field(default=10.0, ge=1, le=600)
    """Length of a segment in seconds."""
    overlap: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """So many seconds of a recording's segment are those at the end of the one before."""
    fps: float = Field(default=1.0, gt=0, le=60)
    """Pictures of a second that the model is shown, 32 of a segment at most. Other than one a second is not what
    servers believe that they are, where they are sent one after the other."""
    frames: int | None = Field(default=None, ge=1, le=MOST_FRAMES)
    """So many pictures of each segment, evenly spread, in the place of `fps`."""
    max_side: int = Field(default=768, ge=64, le=4096)
    """Pictures are made smaller, so that neither side has more pixels."""
    payload: Literal["auto", "jpegs", "mp4", "pictures"] = "auto"
    """How a segment is sent: its pictures as one video of JPEG files; its packets as MP4, of which the server takes the
    pictures that it likes; its pictures one by one. `auto` tries these out once, in this order."""
    max_tokens: int = Field(default=256, ge=1, le=32768)
    """Longest answer."""
    max_requests: int = Field(default=4, ge=1, le=256)
    """Segments of all videos or cameras that the server has at once."""
    timeout_s: Seconds = 60.0
    """A segment that is not answered so long after it was sent has failed; of a camera, so long after its end it has
    expired."""
    health_timeout_s: Seconds = 5.0
    """A server that has not said by then which models it has is not there."""
    skip_still: bool = True
    """Segments of cameras in which nothing moved are not captioned."""

    @model_validator(mode="after")
    def _goes_on(self) -> Self:
        if self.overlap > self.every / 2:
            raise ValueError("overlap is more than half of every: nearly all would be captioned again and again")
        return self
