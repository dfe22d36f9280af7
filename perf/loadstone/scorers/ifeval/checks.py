"""The 25 instructions of IFEval that an answer can be checked for, each a function of the text and its arguments.

They decide as the originals do (Zhou et al., Instruction-Following Evaluation for Large Language Models, 2023; lm-eval
0.4.13), where those do not draw lots: an argument that is missing is an error of the data here, and drawn there.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from loadstone.scorers.ifeval.counting import count_capitals, count_words, split_sentences
from loadstone.scorers.ifeval.languages import detect_language

Check = Callable[..., bool]
Kind = type | tuple[type, ...]
RELATIONS = ("less than", "at least")
OPTIONS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
POSTSCRIPTS = {"P.P.S": r"\s*p\.\s?p\.\s?s.*$", "P.S.": r"\s*p\.\s?s\..*$"}


def _compared(count: int, limit: int, relation: str) -> bool:
    return count < limit if relation == "less than" else count >= limit


def _found(pattern: str, text: str, around: str = "{}", flags: int = re.IGNORECASE) -> list[str]:
    """All that a keyword matches: it is a regular expression in the originals. One that is none is taken literally."""
    try:
        return re.findall(around.format(pattern), text, flags)
    except re.error:
        return re.findall(around.format(re.escape(pattern)), text, flags)


def existence(text: str, keywords: list[str]) -> bool:
    return all(_found(keyword, text) for keyword in keywords)


def frequency(text: str, keyword: str, frequency: int, relation: str) -> bool:
    return _compared(len(_found(keyword.strip(), text)), frequency, relation)


def forbidden_words(text: str, forbidden_words: list[str]) -> bool:
    return not any(_found(word, text, r"\b{}\b") for word in forbidden_words)


def letter_frequency(text: str, letter: str, let_frequency: int, let_relation: str) -> bool:
    return _compared(text.lower().count(letter.strip().lower()), let_frequency, let_relation)


def response_language(text: str, language_: str) -> bool:
    return detect_language(text) in (None, language_)


def number_sentences(text: str, num_sentences: int, relation: str) -> bool:
    return _compared(len(split_sentences(text)), num_sentences, relation)


def number_paragraphs(text: str, num_paragraphs: int) -> bool:
    """Parted by ***; the first and the last part may be empty, and do not count then."""
    parts = [bool(part.strip()) for part in re.split(r"\s?\*\*\*\s?", text)]
    return all(parts[1:-1]) and sum(parts) == num_paragraphs


def number_words(text: str, num_words: int, relation: str) -> bool:
    return _compared(count_words(text), num_words, relation)


def nth_paragraph_first_word(text: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    """Parted by empty lines. As in the originals, empty paragraphs do not count, but have a place."""
    paragraphs = text.split("\n\n")
    count = sum(bool(paragraph.strip()) for paragraph in paragraphs)
    if not 1 <= nth_paragraph <= count or not (paragraph := paragraphs[nth_paragraph - 1].strip()):
        return False
    word = paragraph.split()[0].lstrip("'").lstrip('"')
    return count == num_paragraphs and re.split(r"[.,?!'\"]", word)[0].lower() == first_word.lower()


def number_placeholders(text: str, num_placeholders: int) -> bool:
    lines = (line[: line.rfind("]") + 1] for line in text.split("\n"))  # beyond, a search is in vain and takes long
    return sum(len(re.findall(r"\[.*?\]", line)) for line in lines) >= num_placeholders


def postscript(text: str, postscript_marker: str) -> bool:
    marker = postscript_marker.strip()
    pattern = POSTSCRIPTS.get(marker)
    return bool(
        re.search(pattern, text.lower(), re.MULTILINE)
        if pattern
        else _found(marker.lower(), text.lower(), r"\s*{}.*$", re.MULTILINE)
    )


def number_bullet_lists(text: str, num_bullets: int) -> bool:
    stars = re.findall(r"^\s*\*[^\*].*$", text, re.MULTILINE)
    return len(stars) + len(re.findall(r"^\s*-.*$", text, re.MULTILINE)) == num_bullets


def constrained_response(text: str) -> bool:
    return any(option in text for option in OPTIONS)


def number_highlighted_sections(text: str, num_highlights: int) -> bool:
    single = [part for part in re.findall(r"\*[^\n\*]*\*", text) if part.strip("*").strip()]
    double = [part for part in re.findall(r"\*\*[^\n\*]*\*\*", text) if part[2:-2].strip()]
    return len(single) + len(double) >= num_highlights


def multiple_sections(text: str, section_spliter: str, num_sections: int) -> bool:
    return len(_found(section_spliter.strip(), text, r"\s?{}\s?\d+\s?", 0)) >= num_sections


def json_format(text: str) -> bool:
    bare = text.strip()
    for fence in ("```json", "```Json", "```JSON", "```"):
        bare = bare.removeprefix(fence)
    try:
        json.loads(bare.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def title(text: str) -> bool:
    lines = (line[: line.rfind(">>") + 2] for line in text.split("\n"))  # as above
    return any(found.lstrip("<").rstrip(">").strip() for line in lines for found in re.findall(r"<<.+>>", line))


def two_responses(text: str) -> bool:
    """Parted by ******, with nothing before or after but perhaps another of those."""
    parts = text.split("******")
    answers = [part.strip() for part in parts if part.strip()]
    return all(part.strip() for part in parts[1:-1]) and len(answers) == 2 and answers[0] != answers[1]


def repeat_prompt(text: str, prompt_to_repeat: str) -> bool:
    return text.strip().lower().startswith(prompt_to_repeat.strip().lower())


def end_checker(text: str, end_phrase: str) -> bool:
    return text.strip().strip('"').lower().endswith(end_phrase.strip().lower())


def quotation(text: str) -> bool:
    bare = text.strip()
    return len(bare) > 1 and bare[0] == bare[-1] == '"'


def capital_word_frequency(text: str, capital_frequency: int, capital_relation: str) -> bool:
    return _compared(count_capitals(text), capital_frequency, capital_relation)


def english_capital(text: str) -> bool:
    return text.isupper() and response_language(text, "en")


def english_lowercase(text: str) -> bool:
    return text.islower() and response_language(text, "en")


def no_comma(text: str) -> bool:
    return "," not in text


# By the instruction's id: its check, and the arguments that it needs, with their types.
CHECKS: dict[str, tuple[Check, dict[str, Kind]]] = {
    "keywords:existence": (existence, {"keywords": list}),
    "keywords:frequency": (frequency, {"keyword": str, "frequency": int, "relation": str}),
    "keywords:forbidden_words": (forbidden_words, {"forbidden_words": list}),
    "keywords:letter_frequency": (letter_frequency, {"letter": str, "let_frequency": int, "let_relation": str}),
    "language:response_language": (response_language, {"language": str}),
    "length_constraints:number_sentences": (number_sentences, {"num_sentences": int, "relation": str}),
    "length_constraints:number_paragraphs": (number_paragraphs, {"num_paragraphs": int}),
    "length_constraints:number_words": (number_words, {"num_words": int, "relation": str}),
    "length_constraints:nth_paragraph_first_word": (
        nth_paragraph_first_word,
        {"num_paragraphs": int, "nth_paragraph": int, "first_word": str},
    ),
    "detectable_content:number_placeholders": (number_placeholders, {"num_placeholders": int}),
    "detectable_content:postscript": (postscript, {"postscript_marker": str}),
    "detectable_format:number_bullet_lists": (number_bullet_lists, {"num_bullets": int}),
    "detectable_format:constrained_response": (constrained_response, {}),
    "detectable_format:number_highlighted_sections": (number_highlighted_sections, {"num_highlights": int}),
    "detectable_format:multiple_sections": (multiple_sections, {"section_spliter": str, "num_sections": int}),
    "detectable_format:json_format": (json_format, {}),
    "detectable_format:title": (title, {}),
    "combination:two_responses": (two_responses, {}),
    "combination:repeat_prompt": (repeat_prompt, {"prompt_to_repeat": str}),
    "startend:end_checker": (end_checker, {"end_phrase": str}),
    "startend:quotation": (quotation, {}),
    "change_case:capital_word_frequency": (
        capital_word_frequency,
        {"capital_frequency": int, "capital_relation": str},
    ),
    "change_case:english_capital": (english_capital, {}),
    "change_case:english_lowercase": (english_lowercase, {}),
    "punctuation:no_comma": (no_comma, {}),
}


def build_check(name: str, arguments: dict[str, Any]) -> Callable[[str], bool]:
    """The check of an instruction with its arguments, as a function of the text. Arguments that are None or that the
    instruction has not are those of others in the item. Raises ValueError, TypeError or KeyError for bad ones."""
    check, needed = CHECKS[name]
    given = {}
    for argument, kind in needed.items():
        value = arguments[argument]
        if isinstance(value, float) and kind is int and value.is_integer():  # a column with gaps holds floats
            value = int(value)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise TypeError(f"{argument} is {value!r}")
        if argument.endswith("relation") and value not in RELATIONS:
            raise ValueError(f"{argument} is {value!r}, not 'less than' or 'at least'")
        if isinstance(value, list) and not all(isinstance(each, str) for each in value):
            raise TypeError(f"{argument} is {value!r}")
        given[argument] = value
    values = list(given.values())
    return lambda text: check(text, *values)
