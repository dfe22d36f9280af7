"""What an answer states of a choice: the phrases that announce a letter, in English and Chinese, and those that do not.

Pure text: letter.py says which of the findings counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from unicodedata import normalize

THOUGHT = re.compile(r"</(?:think|thinking|thought|reasoning)>", re.I)
THINKING = re.compile(r"<(?:think|thinking|thought|reasoning)>", re.I)
DRESSED = re.compile(r"\\(?:text(?:bf|rm|it|sf|tt)?|mathrm|mathbf|mathsf|operatorname)\s*\{([^{}]*)\}")
GAP = re.compile(r"[^\S\n]+")
BLANK_LINES = re.compile(r"(?:\n ?){2,}")
TAGGED = re.compile(r"<(/?)(?:final_?)?answer>\s*", re.I)
MARKUP = str.maketrans("", "", "*`$#")
# Characters after `the answer is` among which the words of a choice are looked for.
WIDTH = 200


def after_thinking(text: str) -> str | None:
    """What stands after the thinking; None if that never ended."""
    said = THOUGHT.split(text)[-1]
    return None if THINKING.search(said) else said


def clean_answer(text: str) -> str | None:
    """What stands after the thinking, with full-width signs made plain and without wide gaps, over which the patterns
    below would take long; None if the thinking never ended."""
    said = after_thinking(text)
    if said is None:
        return None
    narrow = BLANK_LINES.sub("\n\n", GAP.sub(" ", normalize("NFKC", said)))
    return DRESSED.sub(r"\1", TAGGED.sub(_untagged, narrow)).strip()


def _untagged(tag: re.Match[str]) -> str:
    return "\n" if tag[1] else "\nAnswer: "


def strip_markup(text: str) -> str:
    """Without emphasis, code marks and headings."""
    return text.translate(MARKUP)


@lru_cache(512)
def normalize_words(text: str) -> str:
    """For comparing words: lower case, single spaces, no signs around."""
    return " ".join(normalize("NFKC", text).translate(MARKUP).casefold().split()).strip(" .,;:!?\"'“”‘’()[]{}。")


ANNOUNCED = (
    r"\banswers?\b[^.\n:=]{0,60}?(?:\s(?:is|are|was|be|would be|must be|should be)\b|:|=|->|→)",
    r"\b(?:choice|option|letter)\s*(?:is|:|=)(?=\W)",
    r"\b(?:correct|right|best|true)\s+(?:ones?|statements?|choices?|options?|letters?)\b[^.\n:=]{0,40}?(?:\s(?:is|are)\b|:)",
    r"\bI(?:'d|’d|'ll|’ll)?\s*(?:would|will|must|am|'m)?\s*(?:choose|pick|select|say|answer|choosing|go(?:ing)?\s+with)\b",
    r"\b(?:respuesta|resposta|risposta|réponse|antwort|antwoord|lösung|ответ|відповідь|đáp\s+án|jawaban|odpowied[zź]|svar(?:et)?"
    r"|cevap)\b[^.\n:=]{0,40}?(?:\s(?:es|é|è|est|ist|lautet|wäre|là|adalah|to|is|är|er)\b(?:\s+(?:la|el|l['’]|die|de)\b)?|:|=)",
    r"(?:答案|正确选项|正确的选项|正确的)\s*(?:应该|应当|应|就|只能)?\s*(?:是|为|选|:|=|】)+",
    r"(?:正解|答え|解答|正答)\s*(?:は|:|】)+|(?:정답|답)\s*(?:은|는|:)+|(?:الإجابة|الجواب)[^.\n:]{0,30}?\s*(?:هي|هو|:)|उत्तर\s*:?(?=\s)",
    r"(?<!不)(?<!不能)(?<!不应)(?<!不该)(?<!不会)(?<!不可)选(?:择|出)?(?!项)\s*:?",
)
LEAD = r"\s*:?\s*(?:(?:therefore|thus|clearly|definitely|probably|likely|most likely|simply|hence)\b,?\s*){0,3},?\s*"
LEAD += r"(?:either|both|option|choice|letter|the\s+letter|statement|opción|opção|opzione|选项|选择|是)?\s*:?\s*"
# It is B: so much else is said in these words that no words of a choice are looked for.
POINTED = re.compile(rf"\b(?:it|that|this)(?:['’]s|\s+is|\s+(?:must|has\s+to|would|should)\s+be)\b{LEAD}", re.I)
CUE = re.compile(f"(?:{'|'.join(ANNOUNCED)}){LEAD}", re.I)
BOXED = re.compile(r"\\boxed\s*\{(?:\s*(?:option|choice)\s)?\s*(?=[^{}]*\})", re.I)
PRAISE = (
    r"\s*(?:\s(?:is|are|was|seems|must\s+be)\s+(?:indeed\s+|clearly\s+|definitely\s+|therefore\s+|thus\s+)?(?:the\s+)?"
    r"(?:only\s+|most\s+\w+\s+|single\s+)?(?:correct|right|best|accurate|true|answer)\b"
    r"|(?:选项|项)?\s*(?:是|为)?\s*(?:唯一)?正确)"
)
PRAISED = re.compile(rf"(?<![A-Za-z0-9'’])[(\[]?([A-Z])[)\]]?[.:]?{PRAISE}")
CONTRAST = re.compile(
    r"\bnot\s+(?:option\s+)?[(\[]?[A-Z][)\]]?,?\s+but\s+(?:rather\s+|instead\s+)?(?:option\s+)?"
    r"(?=[(\[]?[A-Z]\b(?!\s+(?:is|may|might|could|was)\b))"
)
# What follows `let us look at each option:`.
LISTED = re.compile(r"[ \t\n>(-]*A[).:].{0,1500}?\n[ \t>(-]*B[).:]", re.DOTALL)
PAIRED = re.compile(r"(?<![A-Za-z0-9'’])[(\[]?([A-Z])[)\]]?\s*(?:or|and|nor|,|/|或者?|和|、)\s*$")
OPEN = "([{<\"'“‘"
CLOSE = ")]}>\"'”’"
JOIN = re.compile(
    r"\s*(?:,\s*(?:and|or)\b|,|/|&|\band/or\b|\bor\b|\band\b|、|或者?|和|与)\s*(?:maybe|perhaps|option|choice)?\s*"
)
ENDED = re.compile(r"\s*(?:$|[\n.,;:!?)\]}>\"'”’/|&、。=–—-]|[\u0370-\u1dff\u3040-\ud7af])")
GOES_ON = re.compile(r"\s+(?:because|since|as|is|are|was|and|or|nor|but|with|which|for|due|given|here|in\s+this)\b")


def letter_at(text: str, at: int, options: Sequence[str]) -> str | None:
    """The letter that stands at a place, upper case. None for a word, also for `a`, `A` and `I` as English words: those
    must be closed off, be followed by a conjunction, or by the words of their choice."""
    one = text[at : at + 1]
    after = text[at + 1 :]
    if not re.match(r"[A-Za-z]", one) or re.match(r"['’]?[A-Za-z0-9]", after):
        return None
    closed = ENDED.match(after)
    if closed or (one.isupper() and (one not in "AI" or GOES_ON.match(after) or _follows(after, one, options))):
        return one.upper()
    return None


def _follows(after: str, one: str, options: Sequence[str]) -> bool:
    number = ord(one) - ord("A")
    return (
        number < len(options)
        and bool(text := normalize_words(options[number]))
        and normalize_words(after).startswith(text)
    )


def letters_at(text: str, at: int, options: Sequence[str]) -> str:
    """All letters that stand there one after another: `B`, `(B)`, `A or B`, `A, C and D`. "" if there is none."""
    found = ""
    place = at
    while (one := _enclosed(text, place, options)) is not None:
        found += one[0]
        joined = JOIN.match(text, one[1])
        if joined is None:
            break
        place = joined.end()
    return found


def _enclosed(text: str, at: int, options: Sequence[str]) -> tuple[str, int] | None:
    """(letter, where it ends with its brackets)."""
    start = at
    while text[start : start + 1] and text[start] in OPEN + " ":
        start += 1
    one = letter_at(text, start, options)
    if one is None:
        return None
    end = start + 1
    while text[end : end + 1] and text[end] in CLOSE:
        end += 1
    return one, end


# Nothing, or what is a letter and no words.
LETTER = re.compile(r"[a-z]?")


def choices_named(text: str, options: Sequence[str], whole: bool = False) -> str:
    """The letter of the choice whose words a text is, or if not `whole` has alone of all choices; "" if none."""
    said = normalize_words(text)
    texts = [normalize_words(option) for option in options]
    lettered = [(chr(ord("A") + number), words) for number, words in enumerate(texts) if not LETTER.fullmatch(words)]
    if equal := [one for one, words in lettered if words == said]:
        return equal[0] if len(equal) == 1 else ""
    if whole:
        return ""
    there = [(one, words) for one, words in lettered if _has(said, words)]
    longest = [one for one, words in there if not any(words != more and words in more for _, more in there)]
    return "".join(longest)


def _has(said: str, words: str) -> bool:
    left = r"(?<!\w)" if words[:1].isascii() else ""
    right = r"(?!\w)" if words[-1:].isascii() else ""
    return words in said and bool(re.search(left + re.escape(words) + right, said))


NEGATION = re.compile(
    r"\b(?:not|never|nor|neither|whether|if|unless|doubt|cannot|without)\b|n['’]t\b|不是|不选|并非|是否", re.I
)
CLAUSE = re.compile(r"[.,;:!?\n。；]|\b(?:but|so|however|though|yet|because)\b|但|所以")


def _negated(text: str, at: int) -> bool:
    """Whether the clause before a place turns what it says around."""
    return bool(NEGATION.search(CLAUSE.split(text[max(0, at - 120) : at])[-1]))


SENTENCE_END = re.compile(r"[\n}]|[.!?](?=\s|$)|。")


def _statements(text: str, options: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """(start, end, letters) of all that announces or praises a letter or the words of a choice."""
    for pattern in (CUE, BOXED):
        for match in pattern.finditer(text):
            if "answer" not in match[0].lower() and LISTED.match(text, match.end()):
                continue
            after = SENTENCE_END.split(text[match.end() : match.end() + WIDTH], maxsplit=1)[0]
            if found := letters_at(text, match.end(), options) or choices_named(
                after, options, whole=bool(NEGATION.search(after))
            ):
                yield match.start(), match.end() + len(after), found
    for match in POINTED.finditer(text):
        if found := letters_at(text, match.end(), options):
            yield match.start(), match.end() + len(found), found
    for match in CONTRAST.finditer(text):
        if found := letters_at(text, match.end(), options):
            yield match.start(), match.end() + len(found), found
    for match in PRAISED.finditer(text):
        before = PAIRED.search(text[max(0, match.start() - 12) : match.start()])
        yield match.start(), match.end(), (before[1] if before else "") + match[1]


def stated_letters(text: str, options: Sequence[str]) -> list[str]:
    """The letters of each statement that is not turned around, in the order of the text. Several in one are a hedge."""
    found = sorted(_statements(text, options))
    return [letters for start, _, letters in found if not _negated(text, start)]


NEGATED_LETTER = re.compile(
    r"(?i:\b(?:not|nor|neither|eliminate|exclude|except|than|rules?\s+out|ruled\s+out|instead\s+of)\b|n['’]t)"
    r"(?i:\s+(?:be|choose|pick|option|choice|think\s+it\s+is))*\s*[(\[]?[A-Z]\b[)\]]?"
    r"|[(\[]?\b[A-Z]\b[)\]]?\s*(?i:is|are|was|looks|seems)\s*(?i:n['’]t|not|wrong|incorrect|false|out)\b"
    r"|(?:不选|不是|排除)\s*[A-Z]|[A-Z]\s*(?:选项|项)?(?:是)?(?:错误|不正确|不对|错)"
)


def strip_negated(text: str) -> str:
    """Without the letters that are named only to be denied, and statements that are turned around."""
    for start, end, _ in sorted(_statements(text, ()), reverse=True):
        if _negated(text, start):
            text = text[:start] + text[end:]
    return NEGATED_LETTER.sub(" ", text)


REFUSAL = re.compile(
    r"\b(?:cannot|can\s?not|can['’]t|could\s+not|couldn['’]t|unable|won['’]t|will\s+not|refuse|decline)\b"
    r"|\b(?:do\s+not|don['’]t)\s+(?:know|have)\b|\bnot\s+(?:sure|able|certain|possible|enough)\b|\bno\s+idea\b|\bsorry\b"
    r"|无法|不能(?:回答|确定|判断)|抱歉|对不起|不知道|不确定",
    re.I,
)
