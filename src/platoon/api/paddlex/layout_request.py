"""What callers may ask of PaddleX's layout parsing, and which of it a pipeline can do.

Each field of PP-StructureV3's and PaddleOCR-VL's contracts is one here, with their names and defaults. Null is as if a
field were left out. What a pipeline cannot do is refused by name (`refusals`), never left out in silence; a value that
asks for nothing but the usual is taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from platoon.api.paddlex.block_markdown import IGNORED, MarkdownStyle
from platoon.api.paddlex.layout_result import Shown
from platoon.api.paddlex.reading_request import NO_MODEL, Body, ReadingOptions, Share
from platoon.documents.read import Options

Ratio = Annotated[float, Field(gt=0, le=10, allow_inf_nan=False)]
Merge = Literal["large", "small", "union"]
Label = Annotated[str, Field(max_length=64)]
Side = Annotated[int | float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
Count = Annotated[int, Field(gt=0, le=1_000_000)]
Area = Annotated[int, Field(gt=0, le=16_777_216)]
Kind = Annotated[str, Field(pattern=r"^(ocr|table|chart|formula|seal|spotting)_(min|max)_pixels$")]


class LayoutOptions(ReadingOptions):
    """How a document is to be parsed and shown."""

    useSealRecognition: bool | None = None  # noqa: N815 - the contract's names, here and below
    useTableRecognition: bool | None = None  # noqa: N815
    """False: what stands in tables is shown as text."""
    useFormulaRecognition: bool | None = None  # noqa: N815
    useChartRecognition: bool | None = None  # noqa: N815
    useRegionDetection: bool | None = None  # noqa: N815
    useLayoutDetection: bool | None = None  # noqa: N815
    """False: the whole page is text, or what `promptLabel` says."""
    useOcrForImageBlock: bool | None = None  # noqa: N815
    """Say below pictures what stands in them."""
    formatBlockContent: bool | None = None  # noqa: N815
    """`block_content` is Markdown."""

    layoutNms: bool | None = None  # noqa: N815
    layoutThreshold: Share | dict[Label, Share] | None = None  # noqa: N815
    layoutUnclipRatio: Ratio | tuple[Ratio, Ratio] | dict[Label, Ratio | tuple[Ratio, Ratio]] | None = None  # noqa: N815
    layoutMergeBboxesMode: Merge | dict[Label, Merge] | None = None  # noqa: N815
    layoutShapeMode: Literal["rect", "quad", "poly", "auto"] = "auto"  # noqa: N815
    mergeLayoutBlocks: bool | None = None  # noqa: N815

    useWiredTableCellsTransToHtml: bool = False  # noqa: N815
    useWirelessTableCellsTransToHtml: bool = False  # noqa: N815
    useTableOrientationClassify: bool = True  # noqa: N815
    useOcrResultsWithTableCells: bool = True  # noqa: N815
    useE2eWiredTableRecModel: bool = False  # noqa: N815
    useE2eWirelessTableRecModel: bool = True  # noqa: N815

    promptLabel: Literal["ocr", "formula", "table", "chart", "seal", "spotting"] | None = None  # noqa: N815
    """What the whole page is; no layout is looked for then."""
    repetitionPenalty: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)] | None = None  # noqa: N815
    temperature: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    topP: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] | None = None  # noqa: N815
    minPixels: Area | None = None  # noqa: N815
    """Blocks with fewer are scaled up for the model."""
    maxPixels: Area | None = None  # noqa: N815
    """Blocks with more are scaled down for the model."""
    maxNewTokens: Count | None = None  # noqa: N815
    vlmExtraArgs: dict[Kind, Area] | None = None  # noqa: N815
    """`table_max_pixels` and the like: `minPixels` and `maxPixels` for one kind of block."""

    markdownIgnoreLabels: Annotated[list[Label], Field(max_length=100)] | None = None  # noqa: N815
    """Blocks that the Markdown leaves out; those at the edges of pages, unless others are named."""
    prettifyMarkdown: bool = True  # noqa: N815
    """Centre tables, pictures and captions, as HTML."""
    showFormulaNumber: bool = False  # noqa: N815
    returnMarkdownImages: bool = True  # noqa: N815
    outputFormats: Annotated[list[Literal["docx"]], Field(max_length=10)] | None = None  # noqa: N815
    restructurePages: bool = False  # noqa: N815
    """Put the pages together to one document, as `/restructure-pages` does."""
    mergeTables: bool = True  # noqa: N815
    relevelTitles: bool = True  # noqa: N815
    visualize: bool | None = None
    """Send the pages back as pictures, with what was found on them too."""

    @model_validator(mode="after")
    def _pixels_in_order(self) -> Self:
        if self.minPixels is not None and self.maxPixels is not None and self.minPixels > self.maxPixels:
            raise ValueError("minPixels is more than maxPixels")
        return self

    def options(self) -> Options:
        """What they mean to the reader; whoever says how text is to be read wants it read, not taken from a PDF."""
        reads = (name for name in self.model_fields_set if name.startswith(("textDet", "textRec", "useTextline")))
        return Options(
            text_layer="ignore" if any(getattr(self, name) is not None for name in reads) else "auto",
            layout=self.useLayoutDetection is not False,
            tables=self.useTableRecognition is not False,
            read_options=self.read_options(),
        )

    def shown(self) -> Shown:
        """How the caller wants pages shown."""
        ignore = IGNORED if self.markdownIgnoreLabels is None else frozenset(self.markdownIgnoreLabels)
        return Shown(
            style=MarkdownStyle(
                pretty=self.prettifyMarkdown,
                ignore=ignore,
                formula_numbers=self.showFormulaNumber,
                words_of_pictures=bool(self.useOcrForImageBlock),
            ),
            images=self.returnMarkdownImages,
            markdown_contents=bool(self.formatBlockContent),
            word_boxes=bool(self.returnWordBox),
            visualize=bool(self.visualize),
        )


class LayoutRequest(LayoutOptions):
    """The body of `POST /layout-parsing`."""

    file: str = Field(min_length=1, json_schema_extra={"anyOf": [{"format": "byte"}, {"format": "uri"}]})
    """The file as base64, or where it is: an http or https URL."""
    fileType: Literal[0, 1] | None = None  # noqa: N815
    """0: PDF, 1: image; if missing, the file's first bytes decide."""
    logId: Annotated[str, Field(max_length=256)] | None = None  # noqa: N815


class ParsedBlock(BaseModel):
    """A block of a page; what else it has stays as it is."""

    model_config = ConfigDict(extra="allow")

    block_label: Label
    block_content: str
    block_bbox: tuple[Side, Side, Side, Side]


class PrunedResult(BaseModel):
    """What a page says; what else it has stays as it is."""

    model_config = ConfigDict(extra="allow")

    parsing_res_list: list[ParsedBlock]
    model_settings: dict[str, Any] = {}


class PageResult(BaseModel):
    """A page as `/layout-parsing` gave it."""

    model_config = ConfigDict(extra="ignore")

    prunedResult: PrunedResult  # noqa: N815
    markdownImages: dict[str, str] | None = None  # noqa: N815


class RestructureRequest(Body):
    """The body of `POST /restructure-pages`."""

    pages: list[PageResult]
    mergeTables: bool = True  # noqa: N815
    relevelTitles: bool = True  # noqa: N815
    concatenatePages: bool = False  # noqa: N815
    prettifyMarkdown: bool = True  # noqa: N815
    showFormulaNumber: bool = False  # noqa: N815
    returnMarkdownImages: bool = True  # noqa: N815
    outputFormats: Annotated[list[Literal["docx"]], Field(max_length=10)] | None = None  # noqa: N815
    logId: Annotated[str, Field(max_length=256)] | None = None  # noqa: N815

    def shown(self) -> Shown:
        """How the caller wants pages shown."""
        return Shown(
            MarkdownStyle(self.prettifyMarkdown, formula_numbers=self.showFormulaNumber), self.returnMarkdownImages
        )


_ONE_WAY: Final = "is not available: this is done in one way here; leave it out"
_NO_VLM: Final = "is not available: it is for a vision-language model, and this service asks none; leave it out"
_NO_EXPORT: Final = "is not available: this service makes no such files; leave it out"

Refusals = Mapping[str, tuple[tuple[Any, ...], str]]
"""For each field the values that are taken, besides null, and why no others are."""

MODELS: Final[Refusals] = dict.fromkeys(
    (
        *("useDocOrientationClassify", "useDocUnwarping", "useRegionDetection"),
        *("useSealRecognition", "useFormulaRecognition", "useChartRecognition"),
    ),
    ((False,), NO_MODEL),
)
"""What needs models that are not part of this service."""
_LAYOUT: Final[Refusals] = {
    "layoutNms": ((True,), _ONE_WAY),
    "layoutThreshold": ((), _ONE_WAY),
    "layoutUnclipRatio": ((), _ONE_WAY),
    "layoutMergeBboxesMode": ((), _ONE_WAY),
    "layoutShapeMode": (("auto", "rect"), _ONE_WAY),
    "mergeLayoutBlocks": ((False,), _ONE_WAY),
    "useWiredTableCellsTransToHtml": ((False,), _ONE_WAY),
    "useWirelessTableCellsTransToHtml": ((False,), _ONE_WAY),
    "useOcrResultsWithTableCells": ((True,), _ONE_WAY),
    "useE2eWiredTableRecModel": ((False,), _ONE_WAY),
    "useE2eWirelessTableRecModel": ((True,), _ONE_WAY),
    "outputFormats": (([],), _NO_EXPORT),
}
OWN: Final[Refusals] = {
    **MODELS,
    **_LAYOUT,
    **dict.fromkeys(
        (
            *("promptLabel", "repetitionPenalty", "temperature", "topP"),
            *("minPixels", "maxPixels", "maxNewTokens", "vlmExtraArgs"),
        ),
        ((), _NO_VLM),
    ),
}
"""What the own models cannot do."""
VLM: Final[Refusals] = {
    **{
        name: refusal
        for name, refusal in MODELS.items()
        if name not in ("useFormulaRecognition", "useChartRecognition")
    },
    **_LAYOUT,
}
"""What the own layout with a vision-language model cannot do."""
RESTRUCTURE: Final[Refusals] = {"outputFormats": (([],), _NO_EXPORT)}
"""What putting pages together cannot do."""


def refusals(asked: BaseModel, cannot: Refusals) -> dict[str, str]:
    """The fields that ask for what cannot be done, and why; null asks for nothing."""
    return {
        name: why
        for name, (taken, why) in cannot.items()
        if (value := getattr(asked, name)) is not None and value not in taken
    }
