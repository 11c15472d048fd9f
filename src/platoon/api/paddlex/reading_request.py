"""What callers may ask of finding and reading lines, in PaddleX's words, whichever of its services they call."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from platoon.ocr.detection import Postprocessing
from platoon.ocr.reading import MAX_SIDE, ReadOptions

T = TypeVar("T")
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]

NO_MODEL = "is not available: no model for it is part of this service; leave it out or send false"


class Body(BaseModel):
    """Of a call: null is as if a field were left out, and no field may be unknown."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, tree: Any) -> Any:
        return {name: value for name, value in tree.items() if value is not None} if isinstance(tree, dict) else tree


class ReadingOptions(Body):
    """How lines are to be found and read."""

    useDocOrientationClassify: bool | None = None  # noqa: N815 - the contract's names, here and below
    """Only false: there is no such model here."""
    useDocUnwarping: bool | None = None  # noqa: N815
    """Only false: there is no such model here."""
    useTextlineOrientation: bool | None = None  # noqa: N815
    """Read each line upside down too; the surer reading counts."""
    textDetLimitSideLen: Annotated[int, Field(ge=32, le=MAX_SIDE)] | None = None  # noqa: N815
    textDetLimitType: Literal["min", "max"] | None = None  # noqa: N815
    textDetThresh: Share | None = None  # noqa: N815
    textDetBoxThresh: Share | None = None  # noqa: N815
    textDetUnclipRatio: Annotated[float, Field(ge=0, le=10, allow_inf_nan=False)] | None = None  # noqa: N815
    textRecScoreThresh: Share | None = None  # noqa: N815
    returnWordBox: bool | None = None  # noqa: N815

    def read_options(self) -> ReadOptions:
        """What they mean to the reader."""
        default = ReadOptions()
        boxes = default.boxes
        return ReadOptions(
            limit_side=_given(self.textDetLimitSideLen, default.limit_side),
            limit_type=_given(self.textDetLimitType, default.limit_type),
            boxes=Postprocessing(
                threshold=_given(self.textDetThresh, boxes.threshold),
                box_threshold=_given(self.textDetBoxThresh, boxes.box_threshold),
                unclip=_given(self.textDetUnclipRatio, boxes.unclip),
            ),
            min_confidence=_given(self.textRecScoreThresh, 0.0),
            upside_down=bool(self.useTextlineOrientation),
        )


def _given(value: T | None, default: T) -> T:
    return default if value is None else value
