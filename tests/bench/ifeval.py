"""IFEval's checks against those of an installed lm-eval, on generated (instruction, arguments, response) triples.

By hand, with a Python that has lm-eval 0.4.13, langdetect and NLTK with its punkt_tab data (NLTK_DATA), and with
PYTHONPATH=perf: `python tests/bench/ifeval.py [LOADSTONE/../shared/data]`. Thresholds lie at the counts themselves, one
above and one below, where a difference shows. Exit status 1 where less than 99 % agree.
"""

from __future__ import annotations

import json
import random
import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from loadstone.samples import Question, Sample
from loadstone.scorers import ifeval
from loadstone.scorers.ifeval import counting
from loadstone.scorers.ifeval.checks import CHECKS

DATA = Path(sys.argv[1]) if sys.argv[1:] else Path(__file__).resolve().parents[3] / "shared/data"
# Responses.
MOST = 400
FOREIGN = [
    "Der schnelle braune Fuchs springt über den faulen Hund, und wir haben ihn nicht gesehen.",
    "Je ne sais pas ce que vous voulez dire, mais nous sommes très contents de vous voir ici.",
    "Il gatto è sul tavolo e non vuole scendere perché ha paura del cane che abbaia forte.",
    "Это очень хорошая книга, и я думаю, что вы должны её прочитать как можно скорее.",
    "यह एक बहुत अच्छी किताब है और मैं चाहता हूँ कि आप इसे जल्दी पढ़ें।",
    "هذا كتاب جيد جدا وأعتقد أن عليك أن تقرأه في أقرب وقت ممكن.",
    "이것은 아주 좋은 책이므로 가능한 한 빨리 읽어야 한다고 생각합니다.",
]


def responses() -> list[str]:
    lines = (DATA / "mt_bench/reference_answer_gpt-4.jsonl").read_text("utf-8").splitlines()
    texts = [turn for line in lines for choice in json.loads(line)["choices"] for turn in choice["turns"]]
    for file, field in (("gsm8k/test.jsonl", "answer"), ("math500/math500.jsonl", "solution")):
        rows = (DATA / file).read_text("utf-8").splitlines()[:150]
        texts += [json.loads(row)[field] for row in rows]
    return [text for text in (*texts, *FOREIGN) if text.strip()][-MOST:]


def dressed(text: str, draw: random.Random) -> Iterator[str]:
    """The text in forms that instructions ask for."""
    lines = text.split("\n")
    yield text
    yield draw.choice([text.upper(), text.lower(), text.replace(",", ""), f'"{text}"', f"<<A title>>\n{text}"])
    some = " ".join(word.upper() if draw.random() < 0.3 else word for word in text.split())
    forms = [
        "\n".join(f"* {line}" for line in lines),
        "\n***\n".join(lines),
        "\n\n".join(lines),
        f"{text}\n******\n{lines[0]}",
        "\n".join(f"SECTION {n}\n{line}" for n, line in enumerate(lines)),
        f"{text}\n\nP.S. Bye.\nP.P.S. Again.",
        f"```json\n{json.dumps(lines)}\n```",
        f"**{lines[0]}** and *{lines[-1]}*, [name] [a] My answer is yes.",
        f"Intro\n{text}\n\nIs there anything else I can help with?",
        some,
    ]
    yield draw.choice(forms)


def bare(word: str) -> str:
    """Without what means something in a regular expression, which lm-eval trips over."""
    return re.sub(r"\W", "", word) or "the"


def arguments(name: str, text: str, draw: random.Random) -> dict[str, Any]:
    """Near what the text has."""
    words = text.split()
    near, relation = (lambda count: max(1, count + draw.choice([-1, 0, 1]))), draw.choice(["less than", "at least"])
    word = bare(draw.choice(words))
    paragraphs = text.split("\n\n")
    nth = draw.randint(1, max(len(paragraphs), 1))
    first = (paragraphs[nth - 1].split() or ["a"])[0]
    bullets = sum(line.strip()[:1] in ("*", "-") for line in text.split("\n"))
    made = {
        "keywords": [word, bare(words[0])], "keyword": word,
        "frequency": near(text.lower().count(word.lower())), "relation": relation,
        "forbidden_words": [word, "absent"] if draw.random() < 0.5 else ["absent", word[:2] + "zz"],
        "letter": (letter := draw.choice("aeintq")), "let_frequency": near(text.lower().count(letter)),
        "let_relation": relation, "language": draw.choice(["en", "en", "de", "fr", "it", "ru", "hi", "ar", "ko"]),
        "num_sentences": near(len(counting.split_sentences(text))), "num_words": near(counting.count_words(text)),
        "num_paragraphs": near(sum(bool(p.strip()) for p in (paragraphs if "nth" in name else text.split("***")))),
        "nth_paragraph": nth, "first_word": first.strip("\"'.,!?").lower() if draw.random() < 0.8 else "x",
        "num_placeholders": near(text.count("[")), "postscript_marker": draw.choice(["P.S.", "P.P.S"]),
        "num_bullets": near(bullets), "num_highlights": near(text.count("*") // 2), "section_spliter": "SECTION",
        "num_sections": near(text.count("SECTION")), "prompt_to_repeat": text[: draw.choice([9, 40])] or "x",
        "end_phrase": " ".join(words[-3:]) if draw.random() < 0.7 else "The end.",
        "capital_frequency": near(counting.count_capitals(text)), "capital_relation": relation,
    }  # fmt: skip
    return {key: made[key] for key in CHECKS[name][1]}


def main() -> int:
    import langdetect
    from lm_eval.tasks.ifeval import utils

    langdetect.DetectorFactory.seed = 0
    draw, total, alike, follows = random.Random(7), Counter[str](), Counter[str](), Counter[str]()
    for text in responses():
        for form in dressed(text, draw):
            for name in CHECKS:
                given = arguments(name, form, draw)
                if given.get("nth_paragraph", 0) > given.get("num_paragraphs", 99):
                    continue  # drawn by lot there
                doc = {"key": 0, "instruction_id_list": [name], "prompt": "", "kwargs": [given]}
                theirs = utils.process_results(doc, [form])
                ours = ifeval.score_ifeval(
                    form, Sample(task="ifeval", doc_id=0, doc=doc, target="", ask=Question(query=""))
                )
                total[name] += 1
                follows[name] += bool(theirs["prompt_level_strict_acc"])
                same = all(
                    theirs[f"prompt_level_{kind}_acc"] == ours[f"prompt_level_{kind}_acc"]
                    for kind in ("strict", "loose")
                )
                alike[name] += same
                if not same and total[name] - alike[name] <= 2:
                    print(f"  {name} {given} {form[:90]!r}: lm-eval {theirs}, ours {ours}")
    for name in CHECKS:
        print(f"{name:45} {alike[name]:5}/{total[name]} agree, {follows[name]} followed")
    share = sum(alike.values()) / sum(total.values())
    print(f"{sum(alike.values())}/{sum(total.values())} = {share:.4f}")
    return 0 if share >= 0.99 else 1


if __name__ == "__main__":
    sys.exit(main())
