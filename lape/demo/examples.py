"""Opening phrases that the page offers, and what the model it opens on makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from lape.demo.languages import name_of
from lape.demo.words import say
from lape.languages import base_language, language
from lape.models.embedded import GEMMA

TRIED_ON = GEMMA.model


@dataclass(frozen=True)
class Example:
    """An opening phrase, and what to expect of it.

    Attributes:
        prompt: The phrase.
        source: Its language.
        target: A language to steer it to.
        seen: Languages of the columns *on*, *off* and *steered* with `TRIED_ON`, its bundled mask and the defaults, in
            every form that a CPU generates with, which `tests/demo/test_compare.py` looks after; None is no language.
            It is None for another target.
    """

    prompt: str
    source: str
    target: str
    seen: tuple[str | None, ...] | None = None

    @property
    def expected(self) -> str:
        """What to expect, as a sentence; empty where nobody has looked."""
        if self.seen is None:
            return ""
        on, off, steered = (name_of(code) if code else say("quality.no_language") for code in self.seen)
        return say("first.expected", model=GEMMA.title, on=on, off=off, steered=steered)


EXAMPLES = (
    Example("Il était une fois une petite fille qui vivait", "fr", "es", ("fr", "en", "es")),
    Example("Жила-была девочка, которая очень любила", "ru", "ar", ("ru", "en", "ar")),
    Example("很久很久以前,在一个小村庄里,有一位老人", "zh", "es", ("zh", "en", "es")),
    Example("Había una vez un viejo pescador que vivía", "es", "fr", ("es", "en", "fr")),
    Example("Ein junger Mann ging jeden Morgen durch den Wald und", "de", "fr", ("de", "en", "fr")),
    Example("When I opened the window this morning, I saw", "en", "fr", ("en", "en", "fr")),
    Example("Pada suatu hari, seorang anak kecil pergi ke", "id", "es", ("id", "en", "es")),
    Example("C'era una volta un falegname che abitava", "it", "fr", ("it", "pt", "fr")),
    Example("Era uma vez um menino que gostava de", "pt", "fr", ("pt", "en", "fr")),
    Example("むかしむかし、ある小さな村に", "ja", "es", ("ja", "en", "es")),
    Example("في قديم الزمان عاش صياد فقير مع زوجته في", "ar", "fr", ("ar", "en", "fr")),
    Example("এক দেশে ছিল এক রাজা, তাঁর ছিল", "bn", "hi", ("bn", "en", "hi")),
    Example("Za devatero horami žil starý král, který", "cs", "de", ("cs", "sv", "de")),
    Example("Ήταν κάποτε ένας φτωχός ψαράς που ζούσε", "el", "it", ("el", "en", "it")),
    Example("روزی روزگاری پیرمردی با سه پسرش در", "fa", "fr", ("fa", "en", "fr")),
    Example("Olipa kerran pieni tyttö, joka asui", "fi", "sv", ("fi", "sv", "sv")),
    Example("לפני שנים רבות חי בכפר קטן איש זקן", "he", "fr", ("he", "en", "fr")),
    Example("एक गाँव में एक बूढ़ा कुम्हार रहता था, जो", "hi", "es", ("hi", None, "es")),
    Example("Egyszer volt, hol nem volt, volt egy öreg király, akinek", "hu", "de", ("hu", "sv", "de")),
    Example("옛날 옛적에 한 나무꾼이 깊은 산속에서", "ko", "fr", ("ko", "en", "fr")),
    Example("ცხრა მთას იქით ცხოვრობდა ერთი მოხუცი მეფე, რომელსაც", "ka", "en", ("ka", None, "en")),
    Example("Er was eens een klein meisje dat woonde", "nl", "fr", ("nl", "en", "fr")),
    Example("Za górami, za lasami żył sobie król, który", "pl", "fr", ("pl", "en", "fr")),
    Example("Trăia odată într-un sat un moșneag care", "ro", "es", ("ro", "en", "es")),
    Example("Det var en gång en liten flicka som bodde", "sv", "de", ("sv", "en", "de")),
    Example("Hapo kale palikuwa na mfalme aliyekuwa na", "sw", "fr", ("sw", "sw", "fr")),
    Example("ஒரு ஊரில் ஒரு ராஜா இருந்தார், அவருக்கு", "ta", "hi", ("ta", "en", "hi")),
    Example("అనగనగా ఒక రాజు ఉండేవాడు, ఆయనకు", "te", "es", ("te", "nl", "es")),
    Example("กาลครั้งหนึ่งมีเด็กหญิงคนหนึ่งอาศัยอยู่", "th", "fr", ("th", "en", "fr")),
    Example("Bir varmış bir yokmuş, uzak bir köyde yaşlı bir adam", "tr", "de", ("tr", "en", "de")),
    Example("За синіми морями, за високими горами жив король, який", "uk", "pl", ("uk", "en", "pl")),
    Example("Ngày xửa ngày xưa, có một cô bé sống", "vi", "fr", ("vi", "pt", "fr")),
    Example("کسی زمانے میں ایک بادشاہ تھا جس کی", "ur", "ar", ("ur", "en", "ar")),
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
