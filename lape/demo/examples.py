"""Opening phrases that the page offers, and what the embedded model makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lape.languages import base_language, language
from lape.models.embedded import SMOLLM2

TRIED_ON = SMOLLM2.model


@dataclass(frozen=True)
class Example:
    """An opening phrase, and what to expect of it.

    Attributes:
        prompt: The phrase.
        source: Its language.
        target: A language to steer it to.
        seen: Languages of the columns *on*, *off* and *steered* with the embedded model, its bundled mask and the
            defaults, which `tests/demo/test_compare.py` looks after; None for another target.
    """

    prompt: str
    source: str
    target: str
    seen: tuple[str, str, str] | None = None

    @property
    def expected(self) -> str:
        """What to expect, as a sentence; empty where nobody has looked."""
        if self.seen is None:
            return ""
        on, off, steered = (language(code).name for code in self.seen)
        return f"What to expect of the embedded model: on goes on in {on}, off in {off}, steered in {steered}."


EXAMPLES = (
    Example("Il était une fois une petite fille qui vivait", "fr", "es", ("fr", "en", "es")),
    Example("很久很久以前,在一个小村庄里,有一位老人", "zh", "es", ("zh", "en", "es")),
    Example("Había una vez un viejo pescador que vivía", "es", "fr", ("es", "en", "fr")),
    Example("Es war einmal ein alter König, der in einem Schloss", "de", "fr", ("de", "en", "fr")),
    Example("When I opened the window this morning, I saw", "en", "fr", ("en", "en", "fr")),
    Example("Pada suatu hari, seorang anak kecil pergi ke", "id", "es", ("id", "en", "es")),
    Example("C'era una volta un falegname che abitava", "it", "fr", ("en", "en", "fr")),
    Example("Era uma vez um menino que gostava de", "pt", "fr", ("pt", "en", "fr")),
    Example("Жила-была девочка, которая очень любила", "ru", "es", ("ru", "en", "es")),
    Example("むかしむかし、ある小さな村に", "ja", "es", ("ja", "ja", "es")),
    Example("في قديم الزمان عاش صياد فقير مع زوجته في", "ar", "fr"),
    Example("এক দেশে ছিল এক রাজা, তাঁর ছিল", "bn", "hi"),
    Example("Za devatero horami žil starý král, který", "cs", "de"),
    Example("Ήταν κάποτε ένας φτωχός ψαράς που ζούσε", "el", "it"),
    Example("روزی روزگاری پیرمردی با سه پسرش در", "fa", "fr"),
    Example("Olipa kerran pieni tyttö, joka asui", "fi", "sv"),
    Example("היה היה פעם דייג זקן שגר", "he", "ar"),
    Example("एक गाँव में एक बूढ़ा कुम्हार रहता था, जो", "hi", "fr"),
    Example("Egyszer volt, hol nem volt, volt egy öreg király, akinek", "hu", "de"),
    Example("ცხრა მთას იქით ცხოვრობდა ერთი მოხუცი მეფე, რომელსაც", "ka", "ru"),
    Example("Er was eens een klein meisje dat woonde", "nl", "fr"),
    Example("Za górami, za lasami żył sobie król, który", "pl", "it"),
    Example("Trăia odată într-un sat un moșneag care", "ro", "fr"),
    Example("Det var en gång en liten flicka som bodde", "sv", "de"),
    Example("Hapo kale palikuwa na mfalme aliyekuwa na", "sw", "fr"),
    Example("ஒரு ஊரில் ஒரு ராஜா இருந்தார், அவருக்கு", "ta", "hi"),
    Example("అనగనగా ఒక రాజు ఉండేవాడు, ఆయనకు", "te", "es"),
    Example("กาลครั้งหนึ่งมีเด็กหญิงคนหนึ่งอาศัยอยู่", "th", "ja"),
    Example("Evvel zaman içinde yaşlı bir balıkçı", "tr", "de"),
    Example("За синіми морями, за високими горами жив король, який", "uk", "pl"),
    Example("کسی زمانے میں ایک بادشاہ تھا جس کی", "ur", "ar"),
)


def examples_for(languages: Sequence[str]) -> list[Example]:
    """The examples whose languages have neurons; the target is swapped for another where only it has none.

    A variety such as `pt-BR` stands for its language where that has none itself.
    """
    found = []
    for example in EXAMPLES:
        source = _label(example.source, languages)
        if source is not None:
            others = [code for code in languages if code != source]
            target = _label(example.target, others) or others[0]
            known = (source, target) == (example.source, example.target)
            found.append(example if known else replace(example, source=source, target=target, seen=None))
    return found


def _label(code: str, labels: Sequence[str]) -> str | None:
    """What a language is called among some labels: by its code, or by a tag of it in the same script."""
    varieties = (
        label for label in labels if base_language(label) == code and language(label).script == language(code).script
    )
    return code if code in labels else next(varieties, None)
