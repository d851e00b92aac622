"""Languages by code: names to show, the script, the direction of writing, and the family.

A look-up, not a gate: any label may be recorded, and one that is not listed is shown as it is. A label may be a tag,
such as `pt-BR`, `zh_Hant` or `arb_Arab`: identifiers, openings and cards go by its base language.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

NOISE = "zxx-random"  # label of random tokens, which are no language: zxx is ISO 639-2's code for that


@dataclass(frozen=True)
class Language:
    """One language as it is shown to people.

    Attributes:
        code: ISO 639-1 code where there is one, or any label.
        name: Name in English; of a tag with what sets it apart, such as `Portuguese (Brazil)`.
        endonym: Name in the language itself.
        script: ISO 15924 code of its usual script, or of the tag's; "" when not known.
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
        """Name and endonym, such as `French (Français)` or `Portuguese (Brazil) · Português`; once when the same."""
        if self.name.startswith(self.endonym):
            return self.name
        return f"{self.name} · {self.endonym}" if self.name.endswith(")") else f"{self.name} ({self.endonym})"


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


# What other standards call a language: ISO 639-3, with the individual codes that FLORES uses for a macrolanguage
# (`arb` for Arabic), and older or neighbouring codes of ISO 639-1. Those that identifiers know are here, listed or not.
_OTHER_CODES = {
    other: code
    for code, *others in map(
        str.split,
        """
        af afr|am amh|ar ara arb|as asm|az aze azj|ba bak|be bel|bg bul|bn ben|bo bod|br bre|bs bos|ca cat|cs ces|cy cym
        da dan|de deu|dv div|dz dzo|el ell|en eng|eo epo|es spa|et est ekk|eu eus|fa fas pes|fi fin|fo fao|fr fra|fy fry
        ga gle|gd gla|gl glg|gn grn|gu guj|ha hau|he heb iw|hi hin|hr hrv|ht hat|hu hun|hy hye|id ind|ig ibo|is isl
        it ita|ja jpn|jv jav|ka kat|kk kaz|km khm|kn kan|ko kor|ku kur kmr|ky kir|la lat|lb ltz|lg lug|li lim|ln lin
        lo lao|lt lit|lv lav lvs|mg mlg plt|mk mkd|ml mal|mn mon khk|mr mar|ms msa zsm|mt mlt|my mya|ne nep npi|nl nld
        nn nno|no nor nob nb|oc oci|om orm gaz|or ori ory|pa pan|pl pol|ps pus pbt|pt por|qu que quy|ro ron|ru rus
        rw kin|sa san|sc srd|sd snd|se sme|si sin|sk slk|sl slv|sn sna|so som|sq sqi als|sr srp|st sot|su sun|sv swe
        sw swa swh|ta tam|te tel|tg tgk|th tha|tk tuk|tl tgl fil|tr tur|tt tat|ug uig|uk ukr|ur urd|uz uzb uzn|vi vie
        xh xho|yi yid ydd|yo yor|zh zho cmn|zu zul
        """.strip()
        .replace("\n", "|")
        .split("|"),
    )
    for other in others
}
_SCRIPTS = {
    **{"Adlm": "Adlam", "Arab": "Arabic", "Armn": "Armenian", "Beng": "Bengali", "Cyrl": "Cyrillic"},
    **{"Deva": "Devanagari", "Ethi": "Ethiopic", "Geor": "Georgian", "Grek": "Greek", "Gujr": "Gujarati"},
    **{"Guru": "Gurmukhi", "Hang": "Hangul", "Hans": "Simplified", "Hant": "Traditional", "Hebr": "Hebrew"},
    **{"Jpan": "Japanese", "Khmr": "Khmer", "Knda": "Kannada", "Kore": "Korean", "Laoo": "Lao", "Latn": "Latin"},
    **{"Mlym": "Malayalam", "Mong": "Mongolian", "Mymr": "Myanmar", "Nkoo": "N’Ko", "Olck": "Ol Chiki", "Orya": "Odia"},
    **{"Sinh": "Sinhala", "Syrc": "Syriac", "Taml": "Tamil", "Telu": "Telugu", "Tfng": "Tifinagh", "Thaa": "Thaana"},
    **{"Thai": "Thai", "Tibt": "Tibetan"},
}
_RIGHT_TO_LEFT = {"Adlm", "Arab", "Hebr", "Nkoo", "Syrc", "Thaa"}
_REGIONS = {  # another one is shown by its code
    **{"AR": "Argentina", "AT": "Austria", "AU": "Australia", "BD": "Bangladesh", "BE": "Belgium", "BR": "Brazil"},
    **{"CA": "Canada", "CH": "Switzerland", "CL": "Chile", "CN": "China", "CO": "Colombia", "DE": "Germany"},
    **{"DZ": "Algeria", "EG": "Egypt", "ES": "Spain", "FR": "France", "GB": "United Kingdom", "HK": "Hong Kong"},
    **{"ID": "Indonesia", "IE": "Ireland", "IL": "Israel", "IN": "India", "IQ": "Iraq", "IR": "Iran", "IT": "Italy"},
    **{"JP": "Japan", "KE": "Kenya", "KR": "South Korea", "LB": "Lebanon", "MA": "Morocco", "MO": "Macao"},
    **{"MX": "Mexico", "NL": "Netherlands", "NZ": "New Zealand", "PE": "Peru", "PK": "Pakistan", "PT": "Portugal"},
    **{"RU": "Russia", "SA": "Saudi Arabia", "SE": "Sweden", "SG": "Singapore", "SY": "Syria", "TN": "Tunisia"},
    **{"TR": "Türkiye", "TW": "Taiwan", "TZ": "Tanzania", "UA": "Ukraine", "US": "United States", "ZA": "South Africa"},
    **{"001": "World", "419": "Latin America"},
}
_TAG = re.compile(r"([a-z]{2,3})(?:[-_]([A-Za-z]{4}))?(?:[-_]([A-Za-z]{2}|[0-9]{3}))?")


def language(code: str) -> Language:
    """The language of a code or tag; one that is not listed stands for itself.

    Example:
        >>> language("fr").title
        'French (Français)'
        >>> language("zh-Hant").name
        'Chinese (Traditional)'
        >>> language("legal").title
        'legal'
    """
    if code in LANGUAGES:
        return LANGUAGES[code]
    main, script, region = _parts(code)
    known = LANGUAGES.get(main, Language(code, code, code, script=""))
    written = script or ("Hant" if main == "zh" and region in ("HK", "MO", "TW") else known.script)
    told = [_SCRIPTS[script]] if script and (script != known.script or script == "Hans") else []
    told += [_REGIONS.get(region, region)] if region else []
    named = f"{known.name} ({', '.join(told)})" if told and main in LANGUAGES else known.name
    return replace(known, code=code, name=named, script=written, rtl=written in _RIGHT_TO_LEFT)


def base_language(label: str) -> str:
    """The language of a tag by its shortest code; any other label is its own.

    Two labels of one base are one language to who cannot tell its varieties apart.

    Example:
        >>> [base_language(label) for label in ("fr", "pt-BR", "zh_Hant", "arb_Arab", "legal", "fr_wiki")]
        ['fr', 'pt', 'zh', 'ar', 'legal', 'fr_wiki']
    """
    return _parts(label)[0]


def _parts(label: str) -> tuple[str, str, str]:
    """Base language, script and region of a label, the latter two empty where it has none."""
    found = _TAG.fullmatch(label)
    main, script, region = found.groups("") if found else (label, "", "")
    if script and script.title() not in _SCRIPTS:  # of another kind, such as `fr_wiki`
        return label, "", ""
    return _OTHER_CODES.get(main, main), script.title(), region.upper()


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
