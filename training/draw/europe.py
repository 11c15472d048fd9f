"""Plates of Europe, Türkiye and Ukraine."""

from __future__ import annotations

from dataclasses import replace

from training.draw.layouts import (
    ALL,
    BLACK,
    BLUE,
    CONSONANTS,
    CYRILLIC,
    GREEN,
    NO_IO,
    NO_IOQ,
    RED,
    WHITE,
    YELLOW,
    Band,
    Caption,
    Layout,
    Scheme,
)  # fmt: skip


def _eu(label: str) -> Band:
    return Band(label=label, stars=True)


_PLAIN = Scheme()
_BARE = Scheme(border=None)
_RIGHT = Band("right", 40, small=True)
_NL = "BDFGHJKLNPRSTVXZ"

_CARS = (
    Layout("DE", ("a*a nddd", "aa*a nddd", "aa*aa nddd", "aaa*aa ndd", "aaa*a nddd", "a*aa nddd", "aa*aa nd", "a*aa nd",
                  "aa*aa ndd", "aa*aa ndE", "a*aa ndE", "aaa*aa ndH", "a*aa n"),
           ALL, pools=("fe", "fe", "din"), bands=(_eu("D"),), emblem="seals", share=6),
    Layout("FR", ("aa-ddd-aa",), NO_IOQ.replace("U", "Q"), pools=("din", "sans"), bands=(_eu("F"), _RIGHT),
           cap_mm=78, schemes=(_BARE, _PLAIN), bolts="two", share=4),
    Layout("NL", ("aa-ddd-a", "a-ddd-aa", "dd-aaa-d", "dd-aa-aa", "aa-aa-dd", "d-aaa-dd", "aa-dd-aa", "aaa-dd-a"), _NL,
           pools=("din", "narrow"), bands=(_eu("NL"),),
           schemes=(Scheme(YELLOW, share=9), Scheme(BLUE, WHITE, WHITE)), share=3),
    Layout("IT", ("aa_ddd_aa", "aa ddd aa"), NO_IOQ, pools=("din", "round"), cap_mm=77, bands=(_eu("I"), _RIGHT),
           schemes=(_BARE,), share=3),
    Layout("ES", ("dddd aaa", "dddd-aaa"), CONSONANTS, pools=("din", "round"), cap_mm=77, bands=(_eu("E"),), share=3),
    Layout("ES", ("a-dddd-aa", "aa-dddd-a"), NO_IO, pools=("din",), cap_mm=77, schemes=(_PLAIN,), share=0.5),
    Layout("PT", ("aa·dd·aa", "dd-dd-aa", "dd-aa-dd", "aa dd aa"), NO_IOQ, pools=("din",), cap_mm=75,
           bands=(_eu("P"), Band("right", 38, YELLOW, BLACK, small=True))),
    Layout("BE", ("n-aaa-ddd", "aaa-ddd"), NO_IOQ, pools=("din", "narrow"), bands=(_eu("B"),), width_mm=520,
           schemes=(Scheme(ink=(150, 30, 36), border=(150, 30, 36)),), share=1.5),
    Layout("LU", ("aa dddd",), NO_IO, pools=("fe", "din"), bands=(_eu("L"),), schemes=(Scheme(YELLOW),), share=0.7),
    Layout("AT", ("a*dddaa", "a*nddddaa", "aa*ndda", "aa*nddaa", "aa*dddaa", "a*ndddda"), NO_IOQ, pools=("din",
           "narrow"),
           width_mm=520, height_mm=120, cap_mm=67, bands=(_eu("A"),), emblem="shield",
           schemes=(Scheme(border=RED), Scheme(border=None)), share=1.5),
    Layout("PL", ("aa ddddd", "aaa dddd", "aa dddda", "aa dddaa", "aaa ddaa", "aa dadda", "aaa addd", "aa dadda",
           "aa ddddd"),
           "ACEFGHJKLMNPRSTUVWXY", pools=("din", "narrow"), height_mm=114, cap_mm=80, bands=(_eu("PL"),),
           emblem="round",
           share=3),
    Layout("CZ", ("nan*dddd", "nad*dddd", "naa*dddd", "daa dddd"), "ABCEHIJKLMNPRSTUVXYZ", pools=("din", "narrow"),
           bands=(_eu("CZ"),), emblem="pair", share=2),
    Layout("CZ", ("aaa*dd-dd", "aa*dd-dd"), NO_IOQ, pools=("din",), emblem="pair",
           schemes=(_PLAIN, Scheme(YELLOW)), share=0.7),
    Layout("SK", ("aa*dddaa",), NO_IOQ + "IO", pools=("din", "narrow"), bands=(_eu("SK"),), emblem="crest", share=2),
    Layout("SK", ("aa*dddaa", "aa-dddaa"), ALL, pools=("din", "narrow"), emblem="pair-hyphen",
           bands=(Band("left", 38, WHITE, BLACK, "SK", crest=True),), share=2.5),
    Layout("HU", ("aaa-ddd", "aa aa-ddd"), NO_IOQ, pools=("din",), bands=(_eu("H"),), emblem="crest"),
    Layout("HU", ("aa_aa*ddd",), NO_IOQ, pools=("din",), bands=(_eu("H"),), emblem="crest"),
    Layout("RO", ("a dd aaa", "a ddd aaa", "aa dd aaa", "aa dd aaa", "a dddddd"), NO_IOQ + "I", pools=("din", "round"),
           bands=(_eu("RO"),), share=2),
    Layout("BG", ("a dddd aa", "aa dddd aa", "aa_dddd_aa"), "ABEKMHOPCTYX", pools=("din",), cap_mm=75,
           bands=(_eu("BG"),)),
    Layout("GR", ("aaa-dddd",), "ABEZHIKMNOPTYX", pools=("din", "round"), bands=(_eu("GR"),)),
    Layout("HR", ("aa*dddd-aa", "aa*ddd-aa", "aa*ddd-a", "aa dddd-a"), NO_IOQ, pools=("din",), bands=(_eu("HR"),),
           emblem="crest", cap_mm=70),
    Layout("SI", ("aa*aa-ddd", "aa*ddd-aa", "aa*da-ddd", "aa*dd-daa"), NO_IO, pools=("din",), bands=(_eu("SLO"),),
           emblem="crest", schemes=(Scheme(border=GREEN),), cap_mm=70),
    Layout("SE", ("aaa ddd", "aaa dda"), "ABCDEFGHJKLMNOPRSTUWXYZ", pools=("din", "round"), bands=(_eu("S"),),
           cap_mm=76,
           share=2),
    Layout("FI", ("aaa-ddd", "aa-dd", "aaa-nd"), NO_IO + "IO", pools=("din", "round"), width_mm=442, height_mm=118,
           cap_mm=78, bands=(_eu("FIN"),)),
    Layout("DK", ("aa dd ddd", "aa_dd_ddd"), "ABCDEGHJKLMNPRSTUVXYZ", pools=("din", "sans"), bands=(_eu("DK"),),
           schemes=(Scheme(border=RED),)),
    Layout("EE", ("ddd aaa", "ddd·aaa"), NO_IOQ, pools=("din", "sans"), bands=(_eu("EST"),), cap_mm=75),
    Layout("LV", ("aa-dddd", "aa-ddd", "aa-nd"), NO_IOQ + "IO", pools=("din",), bands=(_eu("LV"),), cap_mm=78),
    Layout("LT", ("aaa ddd", "aaa*ddd"), NO_IOQ, pools=("din", "narrow"), bands=(_eu("LT"),), cap_mm=78, emblem="pair"),
    Layout("IE", ("ddd-a-ndddd", "ddd-aa-ndd", "dd-a-ndddd", "ddd-a-nddd", "dd-aa-nddd", "ddd-a-ndd"),
           "CDEGHKLMNORSTWXY",
           pools=("sans", "din"), bands=(_eu("IRL"),), cap_mm=70,
           captions=(Caption(("Baile Átha Cliath", "Corcaigh", "Gaillimh", "Luimneach", "An Mhí"), 0.1, 8),)),
    Layout("CY", ("aaa ddd",), NO_IOQ, pools=("din", "fe"), bands=(_eu("CY"),), cap_mm=75),
    Layout("MT", ("aaa ddd",), NO_IOQ, pools=("din", "fe"), bands=(_eu("M"),), cap_mm=75),
    Layout("NO", ("aa ddddd",), "ABCDEFHJKLNPRSTUVXYZ", pools=("din", "sans"),
           bands=(Band(label="N", colour=(20, 60, 140)),), share=1),
    Layout("CH", ("aa*dddddd", "aa·ddddd", "aa*ddddd"), "ABEGFHIJLNORSTUVWZ", pools=("din", "sans"), emblem="crest"),
    Layout("TR", ("dd aaa ddd", "dd aa ddd", "dd aaa dd", "dd a dddd", "dd aa dddd"), "ABCDEFGHJKLMNPRSTUVYZ",
           pools=("din", "sans", "narrow"), bands=(Band(label="TR"),), cap_mm=75, share=3),
    Layout("UA", ("aa dddd aa", "aa_dddd_aa"), CYRILLIC, pools=("din", "narrow"), cap_mm=76,
           bands=(Band(label="UA", ink=YELLOW, colour=(30, 92, 190)),), share=2),
    Layout("GB", ("aadd aaa",), NO_IOQ + "O", pools=("uk", "uk", "uk", "din", "sans"), height_mm=111, cap_mm=79,
           pitch=0.77, schemes=(_BARE, Scheme(YELLOW, border=None)), foot=True, embossed=0.15, share=4),
    Layout("GB", ("aadd aaa", "addd aaa", "ad aaa", "aaa dda", "aaa ddda", "aaa ndda"), NO_IOQ, pools=("uk",),
           height_mm=111,
           cap_mm=79, pitch=0.77, schemes=(_BARE, Scheme(YELLOW, border=None), Scheme(YELLOW),
           Scheme(BLACK, (214, 214, 214), None, share=0.3)), foot=True,
           embossed=0.15,
           bands=(Band(label="GB", stars=True),), share=2),
)  # fmt: skip


def _tall(layout: Layout, patterns: tuple[str, ...], **other: float) -> Layout:
    """The same country's plate on two lines, nearly square, as for motorcycles and some rears."""
    sizes = {"width_mm": 300.0, "height_mm": 205.0, "cap_mm": 70.0, "share": 0.6} | other
    bands = tuple(replace(band, size_mm=36) for band in layout.bands if band.side == "left")
    return replace(layout, patterns=patterns, bands=bands, **sizes)  # type: ignore[arg-type]


def _of(country: str) -> Layout:
    return next(layout for layout in _CARS if layout.country == country)


_TALL = (
    _tall(_of("DE"), ("aa*|aa ddd", "a*|aa dddd", "aa*|a ddd"), share=0.8),
    _tall(_of("GB"), ("aadd|aaa", "addd|aaa"), share=0.8),
    _tall(_of("NL"), ("aa-dd|d-a", "dd-aa|aa", "aa-dd|aa")),
    _tall(_of("IT"), ("aa|ddd aa", "aa|ddddd")),
    _tall(_of("FR"), ("aa-ddd|aa", "aa|ddd-aa")),
    _tall(_of("PL"), ("aa|dddd", "aaa|dddd", "aa|ddda")),
    _tall(_of("CZ"), ("na|dddd", "nad|dddd")),
    _tall(_of("ES"), ("dddd|aaa",)),
    _tall(_of("TR"), ("dd aa|ddd", "dd|aaa dd")),
    _tall(_of("UA"), ("aa|ddddaa", "aadd|ddaa")),
    _tall(_of("BE"), ("n-aaa|ddd", "n-a|ddd")),
    _tall(_of("RO"), ("aa dd|aaa", "a dd|aaa")),
    _tall(_of("HU"), ("aaa|ddd",)),
    _tall(_of("SE"), ("aaa|ddd",)),
    _tall(_of("GR"), ("aaa|ddd",)),
)

LAYOUTS = _CARS + _TALL
