"""Languages by code: names to show, the script, the direction of writing, and the family.

A look-up, not a gate: any label may be recorded, and one that is not listed is shown as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Language:
    """One language as it is shown to people.

    Attributes:
        code: ISO 639-1 code where there is one, or any label.
        name: Name in English.
        endonym: Name in the language itself.
        script: ISO 15924 code of its usual script, or "" when not known.
        rtl: Whether it is written from right to left.
        family: The family that charts group it by, or a well-known branch of a large one; "" when not known.
    """

    code: str
    name: str
    endonym: str
    script: str = "Latn"
    rtl: bool = False
    family: str = ""

    @property
    def title(self) -> str:
        """Name and endonym, such as `French (Français)`; once when they are the same."""
        return self.name if self.name == self.endonym else f"{self.name} ({self.endonym})"


_LANGUAGES = (
    Language("af", "Afrikaans", "Afrikaans", family="Germanic"),
    Language("ar", "Arabic", "العربية", "Arab", rtl=True, family="Semitic"),
    Language("bg", "Bulgarian", "Български", "Cyrl", family="Slavic"),
    Language("bn", "Bengali", "বাংলা", "Beng", family="Indo-Aryan"),
    Language("bo", "Tibetan", "བོད་སྐད", "Tibt", family="Sino-Tibetan"),
    Language("ca", "Catalan", "Català", family="Romance"),
    Language("cs", "Czech", "Čeština", family="Slavic"),
    Language("da", "Danish", "Dansk", family="Germanic"),
    Language("de", "German", "Deutsch", family="Germanic"),
    Language("el", "Greek", "Ελληνικά", "Grek", family="Hellenic"),
    Language("en", "English", "English", family="Germanic"),
    Language("es", "Spanish", "Español", family="Romance"),
    Language("et", "Estonian", "Eesti", family="Uralic"),
    Language("eu", "Basque", "Euskara", family="Basque"),
    Language("fa", "Persian", "فارسی", "Arab", rtl=True, family="Iranian"),
    Language("fi", "Finnish", "Suomi", family="Uralic"),
    Language("fr", "French", "Français", family="Romance"),
    Language("gl", "Galician", "Galego", family="Romance"),
    Language("gu", "Gujarati", "ગુજરાતી", "Gujr", family="Indo-Aryan"),
    Language("he", "Hebrew", "עברית", "Hebr", rtl=True, family="Semitic"),
    Language("hi", "Hindi", "हिन्दी", "Deva", family="Indo-Aryan"),
    Language("hr", "Croatian", "Hrvatski", family="Slavic"),
    Language("ht", "Haitian Creole", "Kreyòl ayisyen", family="Creole"),
    Language("hu", "Hungarian", "Magyar", family="Uralic"),
    Language("id", "Indonesian", "Bahasa Indonesia", family="Austronesian"),
    Language("it", "Italian", "Italiano", family="Romance"),
    Language("ja", "Japanese", "日本語", "Jpan", family="Japonic"),
    Language("ka", "Georgian", "ქართული", "Geor", family="Kartvelian"),
    Language("ko", "Korean", "한국어", "Kore", family="Koreanic"),
    Language("lt", "Lithuanian", "Lietuvių", family="Baltic"),
    Language("lv", "Latvian", "Latviešu", family="Baltic"),
    Language("ms", "Malay", "Bahasa Melayu", family="Austronesian"),
    Language("mt", "Maltese", "Malti", family="Semitic"),
    Language("nl", "Dutch", "Nederlands", family="Germanic"),
    Language("no", "Norwegian", "Norsk", family="Germanic"),
    Language("pl", "Polish", "Polski", family="Slavic"),
    Language("pt", "Portuguese", "Português", family="Romance"),
    Language("qu", "Quechua", "Runasimi", family="Quechuan"),
    Language("ro", "Romanian", "Română", family="Romance"),
    Language("ru", "Russian", "Русский", "Cyrl", family="Slavic"),
    Language("sk", "Slovak", "Slovenčina", family="Slavic"),
    Language("sl", "Slovenian", "Slovenščina", family="Slavic"),
    Language("sr", "Serbian", "Српски", "Cyrl", family="Slavic"),
    Language("sv", "Swedish", "Svenska", family="Germanic"),
    Language("sw", "Swahili", "Kiswahili", family="Bantu"),
    Language("ta", "Tamil", "தமிழ்", "Taml", family="Dravidian"),
    Language("te", "Telugu", "తెలుగు", "Telu", family="Dravidian"),
    Language("th", "Thai", "ไทย", "Thai", family="Kra-Dai"),
    Language("tl", "Tagalog", "Tagalog", family="Austronesian"),
    Language("tr", "Turkish", "Türkçe", family="Turkic"),
    Language("uk", "Ukrainian", "Українська", "Cyrl", family="Slavic"),
    Language("ur", "Urdu", "اردو", "Arab", rtl=True, family="Indo-Aryan"),
    Language("vi", "Vietnamese", "Tiếng Việt", family="Austroasiatic"),
    Language("yi", "Yiddish", "ייִדיש", "Hebr", rtl=True, family="Germanic"),
    Language("zh", "Chinese", "中文", "Hans", family="Sino-Tibetan"),
)

LANGUAGES: dict[str, Language] = {language.code: language for language in _LANGUAGES}


def language(code: str) -> Language:
    """The language of a code; a code that is not listed stands for itself.

    Example:
        >>> language("fr").title
        'French (Français)'
        >>> language("legal").title
        'legal'
    """
    return LANGUAGES.get(code) or Language(code, code, code, script="")


def families(codes: Iterable[str]) -> dict[str, list[str]]:
    """Codes by family, so that relatives stand together: a language of no known family is one by itself.

    Families of several languages come first, by name, then the languages without relatives; languages by name.

    Example:
        >>> families(["zh", "fr", "ja", "es", "legal"])
        {'Romance': ['fr', 'es'], 'Sino-Tibetan': ['zh'], 'Japonic': ['ja'], 'legal': ['legal']}
    """
    found: dict[str, list[str]] = {}
    for code in sorted(codes, key=lambda code: (language(code).name.casefold(), code)):
        found.setdefault(language(code).family or code, []).append(code)
    several = {family: relatives for family, relatives in sorted(found.items()) if len(relatives) > 1}
    return several | found


def by_family(codes: Iterable[str]) -> list[str]:
    """Codes in the order of their families, see `families`; charts have this order.

    Example:
        >>> by_family(["en", "es", "fr", "ja"])
        ['fr', 'es', 'en', 'ja']
    """
    return [code for family in families(codes).values() for code in family]
