"""Count sentences and words in capitals as the checkers of IFEval do, without NLTK.

Sentences follow Punkt (Kiss and Strunk, Unsupervised Multilingual Sentence Boundary Detection, 2006) with its English
abbreviations and sentence starters, but without its table of 20,366 words and their capitalization. Instead, after an
abbreviation the words of COMMON are assumed to have a capital only at the start of a sentence. Words are split as by
NLTKWordTokenizer, as far as that changes how many are in capitals. tests/bench/ifeval.py measures the agreement.
"""

from __future__ import annotations

import re

# Punkt's English abbreviations, without their last point.
_ABBREVIATIONS = (
    "a.a a.c a.d a.g a.h a.m a.m.e a.s a.t adm ala ariz aug ave b.f b.v bros c c.i.t c.o.m.b c.v calif "
    "chg cie co col colo conn corp cos ct d d.c d.h d.w dec dr e e.f e.h e.l e.m f f.g f.j feb fla fri ft "
    "g g.d g.f g.k ga gen h h.c h.f h.m i.m.s ill inc j.b j.c j.j j.k j.p j.r jan jr k kan ky l l.a l.f "
    "l.p lt ltd m m.b.a m.d.c m.j maj messrs mg mich minn mr mrs ms n n.c n.d n.h n.j n.m n.v n.y nev nov "
    "oct ok okla ore p p.a.m p.m pa ph.d prof r r.a r.h r.i r.j r.k r.t rep reps s s.a s.a.y s.c s.g "
    "s.p.a s.s sen sep sept sr st sw t t.j tenn tues u.k u.n u.s u.s.a u.s.s.r v va vs vt w w.c w.r w.va "
    "w.w wash wed wis yr"
)
# Punkt's frequent sentence starters.
_STARTERS = (
    "according although among both but despite even he however i if in indeed instead it many meanwhile "
    "moreover most nevertheless nonetheless nor sales separately similarly since so some the there these "
    "they this though thus under when while yet"
)
# Frequent words that are rarely capitalized inside a sentence.
_COMMON = (
    "above always another any consider finally following furthermore given hence here include included "
    "including into never nothing only or out remember sometimes soon such than thank their them through "
    "together try unfortunately very whether which whose without yes"
)
# Further words that are often in lower case inside a sentence.
_OFTEN = (
    "a about after again all also an and are as at be because been before by can could did do does during "
    "each every few first for from go good great had has have his how is its just keep last later let "
    "like make may maybe much must my next no not now of often on once one other our over people perhaps "
    "second she should something take that then to today too two until up use was we well what where who "
    "why will with would you your"
)
ABBREVIATIONS = frozenset(_ABBREVIATIONS.split())
STARTERS = frozenset(_STARTERS.split())
COMMON = frozenset(_COMMON.split())
# Words that with a capital begin a sentence after a single letter and a point: `Plan B. The`.
LOWER = STARTERS | COMMON | frozenset(_OFTEN.split())
# Quotes and brackets that close, and what else ends a word.
CLOSING = "\"')]}\u2018\u2019\u201c\u201d\xab\xbb"
WORD_END = re.escape(CLOSING + ";*:@({[")
# A mark that can end a sentence, with the word after it: `. The`, `?)`.
END = re.compile(rf"[.?!](?=[{WORD_END}]|\s+(\S+))")
# The word before a mark: `etc` of `(etc.`.
TOKEN = re.compile(rf"['\u2018\u2019\u201c\u201d\xab\xbb]?[^\s!?{WORD_END}]*\Z")
# Characters with which no word begins.
OPENING = '("`{[:;&#*@)}]-,'
# Closing quotes and brackets after a mark, which belong to its sentence: `." `.
REALIGNED = re.compile(rf"[{re.escape(CLOSING)}]+?(?:\s+|(?=--)|$)", re.MULTILINE)
# A number before a point: `3`, `-1,000`.
NUMBER = re.compile(r"-?[.,]?\d[\d,.-]*\.?\Z")
# Where NLTK splits a word: punctuation, contractions (`'s`, `n't`), and `cannot`, `gimme` and the like.
SPLITS = re.compile(
    r"""[;@#$%&?!*\[\](){}<>"`\u2012-\u2015\u2018\u201c\u201d\u201e\u2019\xab\xbb]|--|\.{2,}|''"""
    r"""|[:,](?=\D|\Z)|(?<=[^\s'])(?='(?:s|m|d|ll|re|ve)?(?:\s|\Z))|(?<=[^\s'])(?=n't(?:\s|\Z))"""
    r"""|(?<!\w)'(?!(?:re|ve|ll|m|t|s|d|n)\b)(?=\w)"""
    r"""|(?<=\bcan)(?=not\b)|(?<=\bd)(?='ye\b)|(?<=\bgim)(?=me\b)|(?<=\bgon)(?=na\b)|(?<=\bgot)(?=ta\b)"""
    r"""|(?<=\blem)(?=me\b)|(?<=\bmore)(?='n\b)|(?<=\bwan)(?=na\s)|(?<=\s't)(?=(?:is|was)\b)""",
    re.IGNORECASE,
)
# The full stop of a sentence, possibly before closing quotes and brackets.
FULL_STOP = re.compile(r"(?<=[^.])\.(?=[\])}>\"'\xbb\u201d\u2019 ]*\Z)")
# Characters before a point that are searched for the word it belongs to; abbreviations are much shorter.
LOOKBACK = 80


def split_sentences(text: str) -> list[str]:
    """Return the sentences of a text. Closing brackets and quotes after a mark belong to its sentence."""
    ends: list[int] = []
    marks = list(END.finditer(text))
    for mark, next_mark in zip(marks, [*marks[1:], None], strict=False):
        # Of marks without a space between them, as in `etc.).`, the last one counts.
        adjacent = next_mark is not None and not re.search(r"\s", text[mark.end() : next_mark.start()])
        if not adjacent and _ends_sentence(text, mark):
            ends.append(mark.end())
    sentences: list[str] = []
    start = 0
    for end in [*ends, len(text.rstrip())]:
        if end <= start:
            continue
        closing = REALIGNED.match(text, end)
        last = closing.end() if closing else end
        sentences.append(text[start:last].strip())
        start = last
    return [sentence for sentence in sentences if sentence]


def _ends_sentence(text: str, mark: re.Match[str]) -> bool:
    """Return True if a sentence ends at a match of END."""
    if mark.group() != ".":
        return True
    token = TOKEN.search(text[max(0, mark.start() - LOOKBACK) : mark.start()])
    word = (token.group() if token else "").lower()
    following = mark.group(1) or ""
    next_word = "" if following[:1] in OPENING else re.split(rf"[!?{WORD_END}]", following)[0].rstrip(".,")
    is_capitalized, is_lower = next_word[:1].isupper(), next_word[:1].islower()
    # An abbreviation or an ellipsis: only before a word that is capitalized at the start of a sentence alone.
    if word.endswith(".") or word in ABBREVIATIONS or word.rpartition("-")[2] in ABBREVIATIONS:
        return len(word) > 1 and is_capitalized and next_word.lower() in STARTERS | COMMON
    # An initial: not before a name.
    if len(word) == 1 and word.isalpha():
        return not is_lower and (not is_capitalized or next_word.lower() in LOWER)
    # An ordinal number before a word in lower case.
    return not (is_lower and NUMBER.match(word))


def count_capitals(text: str) -> int:
    """Return how many words have capitals and no lower-case letters. A contraction is several: `DON'T` is two."""
    sentences = (SPLITS.sub(" ", FULL_STOP.sub(" ", sentence)).split() for sentence in split_sentences(text))
    return sum(word.isupper() for words in sentences for word in words)


def count_words(text: str) -> int:
    """Return the number of runs of letters, digits and underscores."""
    return len(re.findall(r"\w+", text))
