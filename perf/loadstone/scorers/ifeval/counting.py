"""Counting sentences and words in capitals as IFEval's checkers do, whose originals ask NLTK.

Sentences: the decisions of Punkt (Kiss and Strunk, Unsupervised Multilingual Sentence Boundary Detection, 2006) with
its English abbreviations and sentence starters, but without its table of 20,366 words and their capitals: after an
abbreviation, words of COMMON are taken for those that have a capital only where a sentence begins. Words:
NLTKWordTokenizer's splits, as far as they change how many are in capitals. tests/bench/ifeval.py measures it.
"""

from __future__ import annotations

import re

_ABBREVIATIONS = (
    "a.a a.c a.d a.g a.h a.m a.m.e a.s a.t adm ala ariz aug ave b.f b.v bros c c.i.t c.o.m.b c.v calif "
    "chg cie co col colo conn corp cos ct d d.c d.h d.w dec dr e e.f e.h e.l e.m f f.g f.j feb fla fri ft "
    "g g.d g.f g.k ga gen h h.c h.f h.m i.m.s ill inc j.b j.c j.j j.k j.p j.r jan jr k kan ky l l.a l.f "
    "l.p lt ltd m m.b.a m.d.c m.j maj messrs mg mich minn mr mrs ms n n.c n.d n.h n.j n.m n.v n.y nev nov "
    "oct ok okla ore p p.a.m p.m pa ph.d prof r r.a r.h r.i r.j r.k r.t rep reps s s.a s.a.y s.c s.g "
    "s.p.a s.s sen sep sept sr st sw t t.j tenn tues u.k u.n u.s u.s.a u.s.s.r v va vs vt w w.c w.r w.va "
    "w.w wash wed wis yr"
)
_STARTERS = (
    "according although among both but despite even he however i if in indeed instead it many meanwhile "
    "moreover most nevertheless nonetheless nor sales separately similarly since so some the there these "
    "they this though thus under when while yet"
)
_COMMON = (
    "above always another any consider finally following furthermore given hence here include included "
    "including into never nothing only or out remember sometimes soon such than thank their them through "
    "together try unfortunately very whether which whose without yes"
)
_OFTEN = (
    "a about after again all also an and are as at be because been before by can could did do does during "
    "each every few first for from go good great had has have his how is its just keep last later let "
    "like make may maybe much must my next no not now of often on once one other our over people perhaps "
    "second she should something take that then to today too two until up use was we well what where who "
    "why will with would you your"
)
ABBREVIATIONS, STARTERS, COMMON = (frozenset(each.split()) for each in (_ABBREVIATIONS, _STARTERS, _COMMON))
# Words that also stand in the midst of sentences without a capital; after a lone letter they begin one.
LOWER = STARTERS | COMMON | frozenset(_OFTEN.split())
CLOSING = "\"')]}\u2018\u2019\u201c\u201d\xab\xbb"
AFTER = re.escape(CLOSING + ";*:@({[")
END = re.compile(rf"[.?!](?=[{AFTER}]|\s+(\S+))")
TOKEN = re.compile(rf"['\u2018\u2019\u201c\u201d\xab\xbb]?[^\s!?{AFTER}]*\Z")
# No word begins with one of these.
OPENING = '("`{[:;&#*@)}]-,'
REALIGNED = re.compile(rf"[{re.escape(CLOSING)}]+?(?:\s+|(?=--)|$)", re.MULTILINE)
NUMBER = re.compile(r"-?[.,]?\d[\d,.-]*\.?\Z")


def split_sentences(text: str) -> list[str]:
    """The text, sentence by sentence; brackets and quotes that close after a mark are still the sentence's."""
    found, begin, ends = [], 0, list[int]()
    marks = list(END.finditer(text))
    for mark, later in zip(marks, [*marks[1:], None], strict=False):
        one = later is not None and not re.search(r"\s", text[mark.end() : later.start()])  # `etc.).`: the last counts
        ends += [] if one or not _breaks(text, mark) else [mark.end()]
    for end in [*ends, len(text.rstrip())]:
        if end <= begin:
            continue
        closing = REALIGNED.match(text, end)
        last = closing.end() if closing else end
        found.append(text[begin:last].strip())
        begin = last
    return [sentence for sentence in found if sentence]


def _breaks(text: str, match: re.Match[str]) -> bool:
    """Whether a sentence ends at this mark."""
    if match.group() != ".":
        return True
    token = TOKEN.search(text[max(0, match.start() - 80) : match.start()])
    word, following = (token.group() if token else "").lower(), match.group(1) or ""
    first = "" if following[:1] in OPENING else re.split(rf"[!?{AFTER}]", following)[0].rstrip(".,")
    capital, small, follower = first[:1].isupper(), first[:1].islower(), first.lower()
    if word.endswith(".") or word in ABBREVIATIONS or word.rpartition("-")[2] in ABBREVIATIONS:  # or an ellipsis
        return len(word) > 1 and capital and follower in STARTERS | COMMON
    if len(word) == 1 and word.isalpha():
        return not small and (not capital or follower in LOWER)
    return not (small and NUMBER.match(word))


SPLITS = re.compile(
    r"""[;@#$%&?!*\[\](){}<>"`\u2012-\u2015\u2018\u201c\u201d\u201e\u2019\xab\xbb]|--|\.{2,}|''"""
    r"""|[:,](?=\D|\Z)|(?<=[^\s'])(?='(?:s|m|d|ll|re|ve)?(?:\s|\Z))|(?<=[^\s'])(?=n't(?:\s|\Z))"""
    r"""|(?<!\w)'(?!(?:re|ve|ll|m|t|s|d|n)\b)(?=\w)"""
    r"""|(?<=\bcan)(?=not\b)|(?<=\bd)(?='ye\b)|(?<=\bgim)(?=me\b)|(?<=\bgon)(?=na\b)|(?<=\bgot)(?=ta\b)"""
    r"""|(?<=\blem)(?=me\b)|(?<=\bmore)(?='n\b)|(?<=\bwan)(?=na\s)|(?<=\s't)(?=(?:is|was)\b)""",
    re.IGNORECASE,
)


STOP = re.compile(r"(?<=[^.])\.(?=[\])}>\"'\xbb\u201d\u2019 ]*\Z)")


def count_capitals(text: str) -> int:
    """How many words have capitals and no small letters. What is split from a word counts by itself: `DON'T` is two."""
    parts = (SPLITS.sub(" ", STOP.sub(" ", sentence)).split() for sentence in split_sentences(text))
    return sum(word.isupper() for part in parts for word in part)


def count_words(text: str) -> int:
    """How many runs of letters, digits and underscores."""
    return len(re.findall(r"\w+", text))
