"""The 25 instructions of IFEval, each as a function of the text and the arguments of the instruction.

They decide as the originals do (Zhou et al., Instruction-Following Evaluation for Large Language Models, 2023; lm-eval
0.4.13). The originals choose a missing argument at random; here it is an error in the data.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from loadstone.scorers.ifeval.counting import count_capitals, count_words, split_sentences
from loadstone.scorers.ifeval.languages import detect_language

# (text, arguments of the instruction in the order of CHECKS) -> True if the text follows it.
Check = Callable[..., bool]
# The comparisons that `relation` arguments can ask for.
RELATIONS = ("less than", "at least")
# The answers that detectable_format:constrained_response allows.
OPTIONS = ("My answer is yes.", "My answer is no.", "My answer is maybe.")
# A line with a postscript by its marker: `P.S. One more thing`, `p. p. s. ...`.
POSTSCRIPTS = {"P.P.S": r"\s*p\.\s?p\.\s?s.*$", "P.S.": r"\s*p\.\s?s\..*$"}


def _compare(count: int, limit: int, relation: str) -> bool:
    """Return True if a count is less than the limit, or at least the limit, as `relation` asks."""
    return count < limit if relation == "less than" else count >= limit


def _matches(keyword: str, text: str, template: str = "{}", flags: int = re.IGNORECASE) -> list[str]:
    """Return all matches of a keyword, put into a template.

    In the originals keywords are regular expressions. One that is not valid is taken literally here.
    """
    try:
        return re.findall(template.format(keyword), text, flags)
    except re.error:
        return re.findall(template.format(re.escape(keyword)), text, flags)


def existence(text: str, keywords: list[str]) -> bool:
    return all(_matches(keyword, text) for keyword in keywords)


def frequency(text: str, keyword: str, frequency: int, relation: str) -> bool:
    return _compare(len(_matches(keyword.strip(), text)), frequency, relation)


def forbidden_words(text: str, forbidden_words: list[str]) -> bool:
    return not any(_matches(word, text, r"\b{}\b") for word in forbidden_words)


def letter_frequency(text: str, letter: str, let_frequency: int, let_relation: str) -> bool:
    return _compare(text.lower().count(letter.strip().lower()), let_frequency, let_relation)


def response_language(text: str, language_: str) -> bool:
    return detect_language(text) in (None, language_)


def number_sentences(text: str, num_sentences: int, relation: str) -> bool:
    return _compare(len(split_sentences(text)), num_sentences, relation)


def number_paragraphs(text: str, num_paragraphs: int) -> bool:
    """Return True for this many paragraphs, separated by ***; an empty first or last one does not count."""
    has_text = [bool(paragraph.strip()) for paragraph in re.split(r"\s?\*\*\*\s?", text)]
    return all(has_text[1:-1]) and sum(has_text) == num_paragraphs


def number_words(text: str, num_words: int, relation: str) -> bool:
    return _compare(count_words(text), num_words, relation)


def nth_paragraph_first_word(text: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    """Return True if the n-th of this many paragraphs, separated by blank lines, begins with a word.

    As in the originals, empty paragraphs do not count, but take up an index.
    """
    paragraphs = text.split("\n\n")
    count = sum(bool(paragraph.strip()) for paragraph in paragraphs)
    if not 1 <= nth_paragraph <= count or not (paragraph := paragraphs[nth_paragraph - 1].strip()):
        return False
    word = paragraph.split()[0].lstrip("'").lstrip('"')
    return count == num_paragraphs and re.split(r"[.,?!'\"]", word)[0].lower() == first_word.lower()


def number_placeholders(text: str, num_placeholders: int) -> bool:
    # Nothing matches after the last bracket of a line, and trying would take quadratic time.
    lines = (line[: line.rfind("]") + 1] for line in text.split("\n"))
    return sum(len(re.findall(r"\[.*?\]", line)) for line in lines) >= num_placeholders


def postscript(text: str, postscript_marker: str) -> bool:
    marker = postscript_marker.strip()
    pattern = POSTSCRIPTS.get(marker)
    return bool(
        re.search(pattern, text.lower(), re.MULTILINE)
        if pattern
        else _matches(marker.lower(), text.lower(), r"\s*{}.*$", re.MULTILINE)
    )


def number_bullet_lists(text: str, num_bullets: int) -> bool:
    stars = re.findall(r"^\s*\*[^\*].*$", text, re.MULTILINE)
    return len(stars) + len(re.findall(r"^\s*-.*$", text, re.MULTILINE)) == num_bullets


def constrained_response(text: str) -> bool:
    return any(option in text for option in OPTIONS)


def number_highlighted_sections(text: str, num_highlights: int) -> bool:
    single = [section for section in re.findall(r"\*[^\n\*]*\*", text) if section.strip("*").strip()]
    double = [section for section in re.findall(r"\*\*[^\n\*]*\*\*", text) if section[2:-2].strip()]
    return len(single) + len(double) >= num_highlights


def multiple_sections(text: str, section_spliter: str, num_sections: int) -> bool:
    return len(_matches(section_spliter.strip(), text, r"\s?{}\s?\d+\s?", 0)) >= num_sections


def json_format(text: str) -> bool:
    content = text.strip()
    for fence in ("```json", "```Json", "```JSON", "```"):
        content = content.removeprefix(fence)
    try:
        json.loads(content.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def title(text: str) -> bool:
    # As in `number_placeholders`: nothing matches after the last `>>` of a line.
    lines = [line[: line.rfind(">>") + 2] for line in text.split("\n")]
    titles = [title for line in lines for title in re.findall(r"<<.+>>", line)]
    return any(title.lstrip("<").rstrip(">").strip() for title in titles)


def two_responses(text: str) -> bool:
    """Return True for two different responses, separated by ******, which may also come before and after."""
    segments = [segment.strip() for segment in text.split("******")]
    responses = [segment for segment in segments if segment]
    return all(segments[1:-1]) and len(responses) == 2 and responses[0] != responses[1]


def repeat_prompt(text: str, prompt_to_repeat: str) -> bool:
    return text.strip().lower().startswith(prompt_to_repeat.strip().lower())


def end_checker(text: str, end_phrase: str) -> bool:
    return text.strip().strip('"').lower().endswith(end_phrase.strip().lower())


def quotation(text: str) -> bool:
    stripped = text.strip()
    return len(stripped) > 1 and stripped[0] == stripped[-1] == '"'


def capital_word_frequency(text: str, capital_frequency: int, capital_relation: str) -> bool:
    return _compare(count_capitals(text), capital_frequency, capital_relation)


def english_capital(text: str) -> bool:
    return text.isupper() and response_language(text, "en")


def english_lowercase(text: str) -> bool:
    return text.islower() and response_language(text, "en")


def no_comma(text: str) -> bool:
    return "," not in text


# By the instruction's id: its check, and its arguments with their types, in the order of the parameters.
CHECKS: dict[str, tuple[Check, dict[str, type]]] = {
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
    """Return the check of an instruction with its arguments, as a function of the text.

    arguments: by name. Those that the instruction does not have are ignored: in some files each instruction of an item
    has the arguments of all, most of them None. Raises ValueError, TypeError or KeyError for bad ones.
    """
    check, parameters = CHECKS[name]
    values = []
    for argument, kind in parameters.items():
        value = arguments[argument]
        if isinstance(value, float) and kind is int and value.is_integer():  # a column with gaps holds floats
            value = int(value)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise TypeError(f"{argument} is {value!r}")
        if argument.endswith("relation") and value not in RELATIONS:
            raise ValueError(f"{argument} is {value!r}, not 'less than' or 'at least'")
        if isinstance(value, list) and not all(isinstance(word, str) for word in value):
            raise TypeError(f"{argument} is {value!r}")
        values.append(value)
    return lambda text: check(text, *values)
