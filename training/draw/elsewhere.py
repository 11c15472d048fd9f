"""Plates of the other countries that Platoon is to read well: Brazil, India, Vietnam, Australia, New Zealand."""

from __future__ import annotations

from training.draw.layouts import (
    ALL, BLACK, BLUE, GREEN, NO_IO, NO_IOQ, RED, WHITE, YELLOW, Band, Caption, Layout, Scheme,
)  # fmt: skip

_CITIES = (
    "SP-SAO PAULO", "RJ-RIO DE JANEIRO", "MG-BELO HORIZONTE", "BA-SALVADOR", "PR-CURITIBA", "RS-PORTO ALEGRE",
    "CE-FORTALEZA", "DF-BRASILIA", "PE-RECIFE", "SC-JOINVILLE", "GO-GOIANIA", "AM-MANAUS", "SP-CAMPINAS",
    "SP-OSASCO", "ES-VITORIA", "PA-BELEM", "MT-CUIABA", "RN-NATAL", "PB-CAMPINA GRANDE", "MG-UBERLANDIA",
)  # fmt: skip
_GREY = (176, 178, 180)

LAYOUTS = (
    Layout("BR", ("aaa·dddd", "aaa-dddd", "aaa dddd"), ALL, width_mm=400, height_mm=130, cap_mm=63,
           pools=("din", "round", "narrow"), letter_width=0.6, gap=0.13, middle=0.63, corner_mm=9, bolts="high",
           schemes=(Scheme(_GREY, share=8), Scheme((200, 200, 196), share=5), Scheme((160, 30, 36), WHITE, WHITE),
                    Scheme((214, 206, 180), share=2)),
           captions=(Caption(_CITIES, 0.17, 13, pool="sans"),), embossed=1.0, share=5),
    Layout("BR", ("aaadadd", "aaa dadd"), ALL, width_mm=400, height_mm=130, cap_mm=65, pools=("fe", "din"),
           bands=(Band("top", 30, BLUE, WHITE, "BRASIL"),), corner_mm=10, schemes=(_m := Scheme(border=BLACK),), share=4),
    Layout("BR", ("aaa|dddd",), ALL, width_mm=187, height_mm=136, cap_mm=42, pools=("din", "round"), bolts="high",
           letter_width=0.6, middle=0.58, captions=(Caption(_CITIES, 0.12, 9),), schemes=(Scheme(_GREY),), share=0.8),
    Layout("BR", ("aaa|dadd",), ALL, width_mm=200, height_mm=170, cap_mm=53, pools=("fe", "din"),
           bands=(Band("top", 30, BLUE, WHITE, "BRASIL"),), share=0.8),
    Layout("AR", ("aa ddd aa",), ALL, width_mm=400, height_mm=130, cap_mm=65, pools=("fe", "din"),
           bands=(Band("top", 30, BLUE, WHITE, "REPUBLICA ARGENTINA"),), share=1),
    Layout("AR", ("aaa ddd", "aaa·ddd"), ALL, width_mm=294, height_mm=129, cap_mm=62, pools=("sans", "din"),
           schemes=(Scheme(BLACK, WHITE, WHITE),), captions=(Caption(("ARGENTINA",), 0.14, 13, (WHITE,)),), share=0.7),
    Layout("IN", ("aa dd aa dddd", "aa_dd_aa_dddd", "aa dd a dddd", "aa d aa dddd", "aa-dd-aa-dddd"), NO_IO,
           height_mm=120, width_mm=500, cap_mm=65, pools=("sans", "narrow", "din"), embossed=0.5,
           bands=(Band(colour=WHITE, ink=BLUE, label="IND", size_mm=30),),
           schemes=(Scheme(share=4), Scheme(YELLOW), Scheme(GREEN, WHITE, WHITE, share=0.3)), share=3),
    Layout("IN", ("aa dd aa dddd", "aadd aa dddd", "dd BH dddd a", "aa dd dddd"), NO_IO, height_mm=110, width_mm=480,
           cap_mm=65, pools=("sans", "mono", "square", "din"), embossed=0.2,
           schemes=(Scheme(border=None, share=3), Scheme(YELLOW, border=None)), share=1.5),
    Layout("IN", ("aa dd|aa dddd", "aa dd aa|dddd", "aadd|aadddd"), NO_IO, width_mm=285, height_mm=200, cap_mm=62,
           pools=("sans", "din", "mono"), schemes=(Scheme(share=3), Scheme(YELLOW)), embossed=0.4, share=1.2),
    Layout("VN", ("ddn-ddd·dd", "dda-ddd·dd", "dda dddd", "dda-dddd"), "ABCDEFGHKLMNPSTUVXYZ", height_mm=110, width_mm=520,
           cap_mm=78, pools=("din", "sans"), schemes=(Scheme(share=3), Scheme(YELLOW), Scheme(BLUE, WHITE, WHITE, share=0.4)),
           share=1),
    Layout("VN", ("dd-ad|ddd·dd", "dda|ddd·dd", "dd-a|dddd", "dd-ad|dddd", "dda|dddd"), "ABCDEFGHKLMNPSTUVXYZ",
           width_mm=330, height_mm=165, cap_mm=63, pools=("din", "sans"), schemes=(Scheme(share=4), Scheme(YELLOW)), share=2.5),
    Layout("AU-NSW", ("aaa·dda", "aaa-dda", "aa·dd·aa"), NO_IOQ, width_mm=372, height_mm=134, cap_mm=70,
           pools=("din", "sans"), embossed=0.9, schemes=(Scheme(YELLOW, share=3), Scheme(border=None)),
           captions=(Caption(("NEW SOUTH WALES", "NSW", ""), 0.9, 12),), middle=0.47, share=1.5),
    Layout("AU-VIC", ("naa·naa", "aaa·ddd", "naa-naa"), NO_IO, width_mm=372, height_mm=134, cap_mm=70, pools=("din", "sans"),
           schemes=(Scheme(ink=(24, 60, 150), border=None), Scheme(ink=(20, 90, 60), border=None)),
           captions=(Caption(("VICTORIA - THE PLACE TO BE", "VICTORIA - THE EDUCATION STATE", "VICTORIA"), 0.9, 11,
                             ((24, 60, 150),)),), middle=0.45, share=1.5),
    Layout("AU-QLD", ("ddd·aaa", "ddd aaa", "ddd*aad"), NO_IO, width_mm=372, height_mm=134, cap_mm=70, pools=("din", "sans"),
           schemes=(Scheme(ink=(120, 24, 50), border=None),), emblem="round",
           captions=(Caption(("QUEENSLAND - SUNSHINE STATE", "QUEENSLAND"), 0.9, 11, ((120, 24, 50),)),), middle=0.45),
    Layout("AU-WA", ("1aaa·ddd", "1aaa ddd"), NO_IO, width_mm=372, height_mm=134, cap_mm=66, pools=("din", "sans"),
           schemes=(Scheme(ink=(24, 40, 120), border=None, lower_field=(236, 206, 90)),),
           captions=(Caption(("WESTERN AUSTRALIA",), 0.12, 12, ((24, 40, 120),)),), middle=0.55),
    Layout("AU-SA", ("Sddd·aaa", "aaa·ddd"), NO_IO, width_mm=372, height_mm=134, cap_mm=66, pools=("din", "sans"),
           schemes=(Scheme(border=None),), captions=(Caption(("SOUTH AUSTRALIA",), 0.9, 11, (BLACK, RED)),), middle=0.46),
    Layout("NZ", ("aaaddd", "aaa ddd", "aaddd", "aadddd"), "ABCDEFGHJKLMNPQRSTUWYZ", width_mm=360, height_mm=125, cap_mm=76,
           pools=("din", "sans", "round"), schemes=(Scheme(border=None, share=4), Scheme(BLACK, (210, 210, 210), None)),
           captions=(Caption(("", "", "NEW ZEALAND"), 0.9, 9),), share=2),
)  # fmt: skip
