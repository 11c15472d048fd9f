"""What every section of the settings is made of."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Section(BaseModel):
    """Fields that are known, set once, each with a sentence."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)
