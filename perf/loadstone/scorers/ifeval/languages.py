"""Detect the language of a text by its script, then by frequent short words.

It covers the 30 languages of IFEval and those they are easily confused with. IFEval itself uses langdetect, which is
unmaintained, gives different results from call to call, and detects German in English capitals. This is deterministic;
tests/bench/ifeval.py measures how often the two agree.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter

from loadstone.scorers.ifeval.language_words import FOREIGN, LETTERS, WORDS

# Languages that have a script of their own, or almost, by the first word of the Unicode names of its letters.
SCRIPTS = {
    "THAI": "th", "TAMIL": "ta", "TELUGU": "te", "HANGUL": "ko", "HEBREW": "he", "KANNADA": "kn", "GUJARATI": "gu",
    "GURMUKHI": "pa", "MALAYALAM": "ml", "BENGALI": "bn", "HIRAGANA": "ja", "KATAKANA": "ja", "GREEK": "el",
    "CJK": "zh", "ARMENIAN": "hy", "GEORGIAN": "ka", "SINHALA": "si", "KHMER": "km", "LAO": "lo", "MYANMAR": "my",
    "ETHIOPIC": "am", "TIBETAN": "bo", "ORIYA": "or",
}  # fmt: skip
# Weights of a typical and of a foreign letter relative to a frequent word.
TYPICAL_LETTER = 0.2
FOREIGN_LETTER = 0.5
# Weight of a word of one ASCII letter, which is as often a variable of mathematics.
SINGLE_LETTER = 0.3
# A word, with the vowel signs of Devanagari.
WORD = re.compile(r"[^\W\d_]+(?:[\u0900-\u0903\u093a-\u094f\u0962\u0963]+[^\W\d_]*)*")
_WORD_SETS = {
    script: {code: frozenset(words.split()) for code, words in languages.items()} for script, languages in WORDS.items()
}


def detect_language(text: str) -> str | None:
    """Return the ISO 639-1 code of the language that most of the text is in, or None for a text without letters.

    It is English for Latin script without a known word, and likewise the first language of any other script.
    """
    text = unicodedata.normalize("NFC", text)
    scripts = Counter(_script(letter) for letter in text if letter.isalpha())
    if not scripts:
        return None
    kana = scripts["HIRAGANA"] + scripts["KATAKANA"]
    if kana * 10 > scripts["CJK"]:  # Japanese mixes few kana with many Chinese characters
        scripts["HIRAGANA"], scripts["KATAKANA"], scripts["CJK"] = kana + scripts["CJK"], 0, 0
    script = scripts.most_common(1)[0][0]
    if script in SCRIPTS:
        return SCRIPTS[script]
    # Of the languages that share the script, take the one with the best score by words and letters.
    words = Counter(WORD.findall(text.lower()))
    letters = Counter(text.lower())
    best = next(iter(WORDS.get(script, {"und": ""})))
    best_score = 0.0
    for code, frequent in _WORD_SETS.get(script, {}).items():
        matches = [(word, count) for word, count in words.items() if word in frequent]
        weights = (SINGLE_LETTER if len(word) == 1 and word.isascii() else 1.0 for word, _ in matches)
        score = sum(count * weight for (_, count), weight in zip(matches, weights, strict=True))
        score /= len(frequent) ** 0.25
        score += TYPICAL_LETTER * sum(letters[letter] for letter in LETTERS.get(code, ""))
        score -= FOREIGN_LETTER * sum(letters[letter] for letter in FOREIGN.get(code, ""))
        if score > best_score:
            best, best_score = code, score
    return best


def _script(letter: str) -> str:
    """Return the first word of the Unicode name of a letter."""
    return "LATIN" if letter.isascii() else unicodedata.name(letter, "UNKNOWN").partition(" ")[0]
