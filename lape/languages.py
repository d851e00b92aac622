"""Languages by code: names to show, the script, and the direction of writing.

A look-up, not a gate: any label may be recorded, and one that is not listed is shown as it is.
"""

from __future__ import annotations

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
    """

    code: str
    name: str
    endonym: str
    script: str = "Latn"
    rtl: bool = False

    @property
    def title(self) -> str:
        """Name and endonym, such as `French (Français)`; once when they are the same."""
        return self.name if self.name == self.endonym else f"{self.name} ({self.endonym})"


_LANGUAGES = (
    Language("af", "Afrikaans", "Afrikaans"),
    Language("ar", "Arabic", "العربية", "Arab", rtl=True),
    Language("bg", "Bulgarian", "Български", "Cyrl"),
    Language("bn", "Bengali", "বাংলা", "Beng"),
    Language("bo", "Tibetan", "བོད་སྐད", "Tibt"),
    Language("ca", "Catalan", "Català"),
    Language("cs", "Czech", "Čeština"),
    Language("da", "Danish", "Dansk"),
    Language("de", "German", "Deutsch"),
    Language("el", "Greek", "Ελληνικά", "Grek"),
    Language("en", "English", "English"),
    Language("es", "Spanish", "Español"),
    Language("et", "Estonian", "Eesti"),
    Language("eu", "Basque", "Euskara"),
    Language("fa", "Persian", "فارسی", "Arab", rtl=True),
    Language("fi", "Finnish", "Suomi"),
    Language("fr", "French", "Français"),
    Language("gl", "Galician", "Galego"),
    Language("gu", "Gujarati", "ગુજરાતી", "Gujr"),
    Language("he", "Hebrew", "עברית", "Hebr", rtl=True),
    Language("hi", "Hindi", "हिन्दी", "Deva"),
    Language("hr", "Croatian", "Hrvatski"),
    Language("ht", "Haitian Creole", "Kreyòl ayisyen"),
    Language("hu", "Hungarian", "Magyar"),
    Language("id", "Indonesian", "Bahasa Indonesia"),
    Language("it", "Italian", "Italiano"),
    Language("ja", "Japanese", "日本語", "Jpan"),
    Language("ka", "Georgian", "ქართული", "Geor"),
    Language("ko", "Korean", "한국어", "Kore"),
    Language("lt", "Lithuanian", "Lietuvių"),
    Language("lv", "Latvian", "Latviešu"),
    Language("ms", "Malay", "Bahasa Melayu"),
    Language("mt", "Maltese", "Malti"),
    Language("nl", "Dutch", "Nederlands"),
    Language("no", "Norwegian", "Norsk"),
    Language("pl", "Polish", "Polski"),
    Language("pt", "Portuguese", "Português"),
    Language("qu", "Quechua", "Runasimi"),
    Language("ro", "Romanian", "Română"),
    Language("ru", "Russian", "Русский", "Cyrl"),
    Language("sk", "Slovak", "Slovenčina"),
    Language("sl", "Slovenian", "Slovenščina"),
    Language("sr", "Serbian", "Српски", "Cyrl"),
    Language("sv", "Swedish", "Svenska"),
    Language("sw", "Swahili", "Kiswahili"),
    Language("ta", "Tamil", "தமிழ்", "Taml"),
    Language("te", "Telugu", "తెలుగు", "Telu"),
    Language("th", "Thai", "ไทย", "Thai"),
    Language("tl", "Tagalog", "Tagalog"),
    Language("tr", "Turkish", "Türkçe"),
    Language("uk", "Ukrainian", "Українська", "Cyrl"),
    Language("ur", "Urdu", "اردو", "Arab", rtl=True),
    Language("vi", "Vietnamese", "Tiếng Việt"),
    Language("yi", "Yiddish", "ייִדיש", "Hebr", rtl=True),
    Language("zh", "Chinese", "中文", "Hans"),
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
