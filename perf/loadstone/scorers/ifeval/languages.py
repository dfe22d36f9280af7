"""Which language a text is in, for the 30 of IFEval and their neighbours: by script, then by frequent short words.

IFEval's original asks langdetect, which is not kept any more, draws lots (two calls may differ), and takes English in
capitals for German. This always says the same, and how often the two agree, tests/bench/ifeval.py tells.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

from loadstone.scorers.ifeval.language_words import FOREIGN, LETTERS, WORDS

# Scripts that one language alone is written in, or nearly so, by the first word of their characters' names.
SCRIPTS = {
    "THAI": "th", "TAMIL": "ta", "TELUGU": "te", "HANGUL": "ko", "HEBREW": "he", "KANNADA": "kn", "GUJARATI": "gu",
    "GURMUKHI": "pa", "MALAYALAM": "ml", "BENGALI": "bn", "HIRAGANA": "ja", "KATAKANA": "ja", "GREEK": "el",
    "CJK": "zh", "ARMENIAN": "hy", "GEORGIAN": "ka", "SINHALA": "si", "KHMER": "km", "LAO": "lo", "MYANMAR": "my",
    "ETHIOPIC": "am", "TIBETAN": "bo", "ORIYA": "or",
}  # fmt: skip
# What a telling letter weighs against a frequent word.
FOR, AGAINST = 0.2, 0.5
_SETS = {script: {code: frozenset(text.split()) for code, text in each.items()} for script, each in WORDS.items()}


def detect_language(text: str) -> str | None:
    """ISO 639-1 code of the language that most of the text is in; None for a text without letters."""
    text = unicodedata.normalize("NFC", text)
    scripts = Counter(_script(letter) for letter in text if letter.isalpha())
    if not scripts:
        return None
    kana = scripts["HIRAGANA"] + scripts["KATAKANA"]
    if kana * 10 > scripts["CJK"]:  # Japanese has few letters of its own among many Chinese ones
        scripts["HIRAGANA"], scripts["KATAKANA"], scripts["CJK"] = kana + scripts["CJK"], 0, 0
    script = scripts.most_common(1)[0][0]
    return SCRIPTS.get(script) or _by_words(text.lower(), script)


def _script(letter: str) -> str:
    return "LATIN" if letter.isascii() else unicodedata.name(letter, "UNKNOWN").partition(" ")[0]


def _weight(word: str) -> float:
    """A lone letter is as often one of mathematics."""
    return 0.3 if len(word) == 1 and word.isascii() else 1.0


def _by_words(text: str, script: str) -> str:
    """By words and letters; in doubt the first of its script, which for Latin is English."""
    words = Counter(re.findall(r"[^\W\d_]+(?:[\u0900-\u0903\u093a-\u094f\u0962\u0963]+[^\W\d_]*)*", text))
    letters = Counter(text)
    best, most = next(iter(WORDS.get(script, {"und": ""}))), 0.0
    for code, frequent in _SETS.get(script, {}).items():
        value = sum(count * _weight(word) for word, count in words.items() if word in frequent) / len(frequent) ** 0.25
        value += FOR * sum(letters[letter] for letter in LETTERS.get(code, ""))
        value -= AGAINST * sum(letters[letter] for letter in FOREIGN.get(code, ""))
        if value > most:
            best, most = code, value
    return best
