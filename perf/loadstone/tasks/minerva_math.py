"""MATH: competition problems in seven subjects and five levels, whose answers are formulas.

Hendrycks et al. 2021, https://arxiv.org/abs/2103.03874. The prompt and its four fixed examples are Minerva's, as in
lm-eval's `minerva_math`.
"""

from __future__ import annotations

from loadstone.scorers.boxed import last_box, math_answer, minerva
from loadstone.scorers.math_equivalence import score_math
from loadstone.tasks.spec import Benchmark, Data, Doc, Filter, Generation, Group, Task

# By lm-eval's name: the configuration on the hub, and the `type` in the rows.
SUBJECTS = {
    "algebra": ("algebra", "Algebra"),
    "counting_and_prob": ("counting_and_probability", "Counting & Probability"),
    "geometry": ("geometry", "Geometry"),
    "intermediate_algebra": ("intermediate_algebra", "Intermediate Algebra"),
    "num_theory": ("number_theory", "Number Theory"),
    "prealgebra": ("prealgebra", "Prealgebra"),
    "precalc": ("precalculus", "Precalculus"),
}
LEVELS = (1, 2, 3, 4, 5)
# The worked examples of Lewkowycz et al. 2022, appendix D.2, https://arxiv.org/abs/2206.14858.
WORKED_EXAMPLES = (
    (
        r"Find the domain of the expression  $\frac{\sqrt{x-2}}{\sqrt{5-x}}$.",
        r"The expressions inside each square root must be non-negative. Therefore, $x-2 \ge 0$, so $x\ge2$, and $5 - x"
        r" \ge 0$, so $x \le 5$. Also, the denominator cannot be equal to zero, so $5-x>0$, which gives $x<5$."
        r" Therefore, the domain of the expression is $\boxed{[2,5)}$."
        "\nFinal Answer: The final answer is $[2,5)$. I hope it is correct.",
    ),
    (
        r"If $\det \mathbf{A} = 2$ and $\det \mathbf{B} = 12,$ then find $\det (\mathbf{A} \mathbf{B}).$",
        r"We have that $\det (\mathbf{A} \mathbf{B}) = (\det \mathbf{A})(\det \mathbf{B}) = (2)(12) = \boxed{24}.$"
        "\nFinal Answer: The final answer is $24$. I hope it is correct.",
    ),
    (
        "Terrell usually lifts two 20-pound weights 12 times. If he uses two 15-pound weights instead, how many times"
        " must Terrell lift them in order to lift the same total weight?",
        r"If Terrell lifts two 20-pound weights 12 times, he lifts a total of $2\cdot 12\cdot20=480$ pounds of weight. "
        r" If he lifts two 15-pound weights instead for $n$ times, he will lift a total of $2\cdot15\cdot n=30n$ pounds"
        " of weight.  Equating this to 480 pounds, we can solve for $n$:\n\\begin{align*}\n30n&=480\\\\\n"
        "\\Rightarrow\\qquad n&=480/30=\\boxed{16}\n\\end{align*}"
        "\nFinal Answer: The final answer is $16$. I hope it is correct.",
    ),
    (
        "If the system of equations\n\n\\begin{align*}\n6x-4y&=a,\\\\\n6y-9x &=b.\n\\end{align*}has a solution $(x, y)$"
        " where $x$ and $y$ are both nonzero,\nfind $\\frac{a}{b},$ assuming $b$ is nonzero.",
        "If we multiply the first equation by $-\\frac{3}{2}$, we obtain\n\n$$6y-9x=-\\frac{3}{2}a.$$Since we also know"
        " that $6y-9x=b$, we have\n\n$$-\\frac{3}{2}a=b\\Rightarrow\\frac{a}{b}=\\boxed{-\\frac{2}{3}}.$$"
        "\nFinal Answer: The final answer is $-\\frac{2}{3}$. I hope it is correct.",
    ),
)


def query(doc: Doc) -> str:
    return f"Problem:\n{doc['problem']}\n\nSolution:"


def answer(doc: Doc) -> str:
    """Return the content of the solution's box. Raises ValueError without a box."""
    content = last_box(str(doc["solution"]))
    if content is None:
        raise ValueError(f"a solution without \\boxed{{}}: {doc['problem']}")
    return content


def level(doc: Doc) -> int | None:
    """Return 5 for `Level 5`, or None; a few rows have no number."""
    digits = "".join(filter(str.isdigit, str(doc.get("level", ""))))
    return int(digits) if digits else None


def _build_task(subject: str, task_level: int | None = None) -> Task:
    config, kind = SUBJECTS[subject]

    def belongs(doc: Doc) -> bool:
        return doc.get("type", kind) == kind and task_level in (None, level(doc))

    return Task(
        name=f"math_{subject}" + (f"_level_{task_level}" if task_level else ""),
        title=f"MATH, {kind}" + (f", level {task_level}" if task_level else ""),
        version=3.1,
        source="https://arxiv.org/abs/2103.03874",
        data=Data(
            path="EleutherAI/hendrycks_math",
            config=config,
            files=(
                *(f"{config}/test.jsonl", f"test/{config}.jsonl", f"{config}.jsonl", "test.jsonl"),
                f"test/{config}/*.json",  # the original archive: a file for each problem
            ),
        ),
        query=query,
        target=answer,
        keep=belongs,
        shots=4,
        max_shots=4,
        draw="fixed",
        fixed_shots=tuple((query({"problem": problem}), solution) for problem, solution in WORKED_EXAMPLES),
        generation=Generation(
            template="lm-eval minerva_math",
            filters=(Filter("none", minerva, score_math), Filter("flexible-extract", math_answer, score_math)),
            stop=("Problem:",),
            max_tokens=1024,
            settings={"temperature": 0.0},
        ),
    )


BENCHMARK = Benchmark(
    name="math",
    licence="MIT",
    tasks=tuple(_build_task(subject, task_level) for task_level in (None, *LEVELS) for subject in SUBJECTS),
    groups=(
        Group(name="math", title="MATH", tasks=tuple(f"math_{subject}" for subject in SUBJECTS)),
        *(
            Group(
                name=f"math_level_{task_level}",
                title=f"MATH, level {task_level}",
                tasks=tuple(f"math_{subject}_level_{task_level}" for subject in SUBJECTS),
            )
            for task_level in LEVELS
        ),
    ),
)
