import unicodedata

import pytest

from platoon.api.language import _UNREADABLE, check_language
from platoon.engine.model import metadata, text_recognition
from platoon.errors import InvalidInput


def test_scripts_said_to_be_unreadable_are_not_in_the_models_alphabet() -> None:
    alphabet = metadata(text_recognition().load())["character"].split("\n")
    scripts = {unicodedata.name(character, "").split(" ")[0] for character in alphabet}
    assert {"LATIN", "GREEK", "CJK", "HIRAGANA", "KATAKANA"} <= scripts
    assert not scripts & {script.upper() for script in _UNREADABLE}


@pytest.mark.parametrize(
    "language", ["", "en", "EN-us", "ch", "chi_sim", "japan", "latin", "german", "el", "auto", "x" * 99]
)
def test_all_other_languages_are_taken(language: str) -> None:
    check_language("lang", language)


@pytest.mark.parametrize("language", ["ru", "RU-ru", " korean ", "ar_EG", "th"])
def test_a_language_in_unknown_letters_is_refused_by_its_field(language: str) -> None:
    with pytest.raises(InvalidInput, match=r"^lang: "):
        check_language("lang", language)
