"""The phrases in which a response states, denies or refuses a choice, in English, Chinese and some other languages.

`letter` decides which of the statements counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from unicodedata import normalize

# The end and the start of a model's thinking: `</think>`, `<reasoning>`.
THINKING_END = re.compile(r"</(?:think|thinking|thought|reasoning)>", re.I)
THINKING_START = re.compile(r"<(?:think|thinking|thought|reasoning)>", re.I)
# A text command of LaTeX around a letter or word: `\text{B}`, `\mathbf{B}`.
LATEX_TEXT = re.compile(r"\\(?:text(?:bf|rm|it|sf|tt)?|mathrm|mathbf|mathsf|operatorname)\s*\{([^{}]*)\}")
# A run of spaces, and a run of blank lines.
GAP = re.compile(r"[^\S\n]+")
BLANK_LINES = re.compile(r"(?:\n ?){2,}")
# A tag around the answer: `<answer>`, `</final_answer>`.
ANSWER_TAG = re.compile(r"<(/?)(?:final_?)?answer>\s*", re.I)
# Characters of Markdown and LaTeX around words: `**B**`, `# Answer`.
MARKUP = str.maketrans("", "", "*`$#")
# Characters after `the answer is` among which the words of a choice are looked for: the length of a long choice.
WIDTH = 200
# Phrases that announce an answer: `the answer is`, `option:`, `the correct choice is`, `I would go with`, `la respuesta
# es`, `答案是`, `答えは`, `정답은`, `选` (but not `不选`).
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
# Words between such a phrase and the letter: `: therefore option `, `, most likely, the letter `.
LEAD = r"\s*:?\s*(?:(?:therefore|thus|clearly|definitely|probably|likely|most likely|simply|hence)\b,?\s*){0,3},?\s*"
LEAD += r"(?:either|both|option|choice|letter|the\s+letter|statement|opción|opção|opzione|选项|选择|是)?\s*:?\s*"
# `It is B`. These words announce so much else that no words of a choice are looked for after them, only letters.
POINTED = re.compile(rf"\b(?:it|that|this)(?:['’]s|\s+is|\s+(?:must|has\s+to|would|should)\s+be)\b{LEAD}", re.I)
# An announcement with its lead: `the answer is most likely option `.
CUE = re.compile(f"(?:{'|'.join(ANNOUNCED)}){LEAD}", re.I)
# A box that a letter can follow: `\boxed{option `.
BOXED = re.compile(r"\\boxed\s*\{(?:\s*(?:option|choice)\s)?\s*(?=[^{}]*\})", re.I)
# What says of a letter that it is right: ` is the only correct`, `是正确`.
PRAISE = (
    r"\s*(?:\s(?:is|are|was|seems|must\s+be)\s+(?:indeed\s+|clearly\s+|definitely\s+|therefore\s+|thus\s+)?(?:the\s+)?"
    r"(?:only\s+|most\s+\w+\s+|single\s+)?(?:correct|right|best|accurate|true|answer)\b"
    r"|(?:选项|项)?\s*(?:是|为)?\s*(?:唯一)?正确)"
)
# The same with its letter: `(B) is correct`.
PRAISED = re.compile(rf"(?<![A-Za-z0-9'’])[(\[]?([A-Z])[)\]]?[.:]?{PRAISE}")
# `not A, but `, before another letter.
CONTRAST = re.compile(
    r"\bnot\s+(?:option\s+)?[(\[]?[A-Z][)\]]?,?\s+but\s+(?:rather\s+|instead\s+)?(?:option\s+)?"
    r"(?=[(\[]?[A-Z]\b(?!\s+(?:is|may|might|could|was)\b))"
)
# A list of the choices after a colon, such as that of `let us look at each option:`, up to its second choice.
LISTED = re.compile(r"[ \t\n>(-]*A[).:].{0,1500}?\n[ \t>(-]*B[).:]", re.DOTALL)
# A letter before a praised one that belongs to it: `A or ` of `A or B is correct`.
PAIRED = re.compile(r"(?<![A-Za-z0-9'’])[(\[]?([A-Z])[)\]]?\s*(?:or|and|nor|,|/|或者?|和|、)\s*$")
# Brackets and quotes before and after a letter.
OPEN = "([{<\"'“‘"
CLOSE = ")]}>\"'”’"
# What joins two letters: `, `, ` and `, ` or maybe option `, `、`.
JOIN = re.compile(
    r"\s*(?:,\s*(?:and|or)\b|,|/|&|\band/or\b|\bor\b|\band\b|、|或者?|和|与)\s*(?:maybe|perhaps|option|choice)?\s*"
)
# What can follow a letter that is no word: the end, punctuation, a letter of another script.
ENDED = re.compile(r"\s*(?:$|[\n.,;:!?)\]}>\"'”’/|&、。=–—-]|[\u0370-\u1dff\u3040-\ud7af])")
# A word after `A` or `I` that shows that it is no article or pronoun: ` because`, ` is`.
GOES_ON = re.compile(r"\s+(?:because|since|as|is|are|was|and|or|nor|but|with|which|for|due|given|here|in\s+this)\b")
# A choice that is a letter itself or empty, so its words cannot be looked for.
SINGLE_LETTER = re.compile(r"[a-z]?")
# A word that negates the clause it is in: `not`, `whether`, `isn't`, `不是`.
NEGATION = re.compile(
    r"\b(?:not|never|nor|neither|whether|if|unless|doubt|cannot|without)\b|n['’]t\b|不是|不选|并非|是否", re.I
)
# The end of a clause: `, `, ` but `, `但`.
CLAUSE = re.compile(r"[.,;:!?\n。；]|\b(?:but|so|however|though|yet|because)\b|但|所以")
# The end of a sentence: a line break, `. `, `。`.
SENTENCE_END = re.compile(r"[\n}]|[.!?](?=\s|$)|。")
# A letter that is denied: `not B`, `eliminate (C)`, `B is wrong`, `不选 A`, `A 错误`.
NEGATED_LETTER = re.compile(
    r"(?i:\b(?:not|nor|neither|eliminate|exclude|except|than|rules?\s+out|ruled\s+out|instead\s+of)\b|n['’]t)"
    r"(?i:\s+(?:be|choose|pick|option|choice|think\s+it\s+is))*\s*[(\[]?[A-Z]\b[)\]]?"
    r"|[(\[]?\b[A-Z]\b[)\]]?\s*(?i:is|are|was|looks|seems)\s*(?i:n['’]t|not|wrong|incorrect|false|out)\b"
    r"|(?:不选|不是|排除)\s*[A-Z]|[A-Z]\s*(?:选项|项)?(?:是)?(?:错误|不正确|不对|错)"
)
# A refusal to choose: `I cannot`, `do not know`, `not sure`, `sorry`, `无法`.
REFUSAL = re.compile(
    r"\b(?:cannot|can\s?not|can['’]t|could\s+not|couldn['’]t|unable|won['’]t|will\s+not|refuse|decline)\b"
    r"|\b(?:do\s+not|don['’]t)\s+(?:know|have)\b|\bnot\s+(?:sure|able|certain|possible|enough)\b|\bno\s+idea\b|\bsorry\b"
    r"|无法|不能(?:回答|确定|判断)|抱歉|对不起|不知道|不确定",
    re.I,
)


def after_thinking(text: str) -> str | None:
    """Return the text after the model's thinking, or all of it without thinking; None if the thinking never ends."""
    answer = THINKING_END.split(text)[-1]
    return None if THINKING_START.search(answer) else answer


def clean_answer(text: str) -> str | None:
    """Return the text after the thinking, ready for the patterns of this module; None if the thinking never ends.

    Full-width characters become plain ones, and wide gaps, which would make the patterns slow, a single space or a
    blank line.
    """
    answer = after_thinking(text)
    if answer is None:
        return None
    narrow = BLANK_LINES.sub("\n\n", GAP.sub(" ", normalize("NFKC", answer)))
    untagged = ANSWER_TAG.sub(lambda tag: "\n" if tag[1] else "\nAnswer: ", narrow)
    return LATEX_TEXT.sub(r"\1", untagged).strip()


def strip_markup(text: str) -> str:
    """Return the text without the characters of emphasis, code, headings and formulas."""
    return text.translate(MARKUP)


@lru_cache(512)
def normalize_words(text: str) -> str:
    """Return the text in lower case with single spaces and without punctuation around it, to compare words."""
    return " ".join(normalize("NFKC", text).translate(MARKUP).casefold().split()).strip(" .,;:!?\"'“”‘’()[]{}。")


def letter_at(text: str, at: int, options: Sequence[str]) -> str | None:
    """Return the letter at a position in upper case, or None if it begins a word.

    `a`, `A` and `I` are English words too: they count only before punctuation, a conjunction or a verb, or the words of
    their choice.
    """
    letter, after = text[at : at + 1], text[at + 1 :]
    if not re.match(r"[A-Za-z]", letter) or re.match(r"['’]?[A-Za-z0-9]", after):
        return None
    if ENDED.match(after):
        return letter.upper()
    if not letter.isupper():
        return None
    if letter not in "AI" or GOES_ON.match(after):
        return letter
    # `A Paris`, if Paris is choice A.
    number = ord(letter) - ord("A")
    words = normalize_words(options[number]) if number < len(options) else ""
    return letter if words and normalize_words(after).startswith(words) else None


def letters_at(text: str, at: int, options: Sequence[str]) -> str:
    """Return all letters that follow one another at a position: `B`, `(B)`, `A or B`, `A, C and D`; "" for none."""
    letters = ""
    while True:
        # One letter with its brackets and quotes.
        while text[at : at + 1] and text[at] in OPEN + " ":
            at += 1
        letter = letter_at(text, at, options)
        if letter is None:
            return letters
        letters += letter
        at += 1
        while text[at : at + 1] and text[at] in CLOSE:
            at += 1
        # What joins it to the next one.
        joint = JOIN.match(text, at)
        if joint is None:
            return letters
        at = joint.end()


def choices_named(text: str, options: Sequence[str], whole: bool = False) -> str:
    """Return the letter of the choice whose words the text is; "" if there is none or several are alike.

    If not `whole`, and no choice is the whole text, return the letters of all choices that the text contains. A choice
    within a longer one that it contains too does not count.
    """
    normalized = normalize_words(text)
    choices = [(chr(ord("A") + number), normalize_words(option)) for number, option in enumerate(options)]
    choices = [(letter, words) for letter, words in choices if not SINGLE_LETTER.fullmatch(words)]
    if equal := [letter for letter, words in choices if words == normalized]:
        return equal[0] if len(equal) == 1 else ""
    if whole:
        return ""
    contained = [(letter, words) for letter, words in choices if _contains(normalized, words)]
    return "".join(
        letter for letter, words in contained if not any(words != longer and words in longer for _, longer in contained)
    )


def _contains(text: str, words: str) -> bool:
    """Return True if the text has these words; in scripts with spaces, as whole words."""
    left = r"(?<!\w)" if words[:1].isascii() else ""
    right = r"(?!\w)" if words[-1:].isascii() else ""
    return words in text and bool(re.search(left + re.escape(words) + right, text))


def _is_negated(text: str, at: int) -> bool:
    """Return True if the clause before a position has a negation in its last 120 characters."""
    return bool(NEGATION.search(CLAUSE.split(text[max(0, at - 120) : at])[-1]))


def _statements(text: str, options: Sequence[str]) -> Iterator[tuple[int, int, str]]:
    """Yield (start, end, letters) of each phrase that announces or praises a letter or the words of a choice."""
    for pattern in (CUE, BOXED):
        for match in pattern.finditer(text):
            if "answer" not in match[0].lower() and LISTED.match(text, match.end()):
                continue
            after = SENTENCE_END.split(text[match.end() : match.end() + WIDTH], maxsplit=1)[0]
            letters = letters_at(text, match.end(), options)
            letters = letters or choices_named(after, options, whole=bool(NEGATION.search(after)))
            if letters:
                yield match.start(), match.end() + len(after), letters
    for pattern in (POINTED, CONTRAST):
        for match in pattern.finditer(text):
            if letters := letters_at(text, match.end(), options):
                yield match.start(), match.end() + len(letters), letters
    for match in PRAISED.finditer(text):
        before = PAIRED.search(text[max(0, match.start() - 12) : match.start()])
        yield match.start(), match.end(), (before[1] if before else "") + match[1]


def stated_letters(text: str, options: Sequence[str]) -> list[str]:
    """Return the letters of each statement that is not negated, in the order of the text.

    Several letters in one statement are a hedge.
    """
    return [letters for start, _, letters in sorted(_statements(text, options)) if not _is_negated(text, start)]


def strip_negated(text: str) -> str:
    """Return the text without negated statements and without letters that are only denied."""
    for start, end, _ in sorted(_statements(text, ()), reverse=True):
        if _is_negated(text, start):
            text = text[:start] + text[end:]
    return NEGATED_LETTER.sub(" ", text)
