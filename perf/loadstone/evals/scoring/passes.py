"""How likely one of k answers is right, from n answers of which c were: pass@k of programs, or of anything else.

Pure arithmetic on counts. Which answers are right is for the scorers; means over items are the tally's.
"""

from __future__ import annotations


def pass_at(n: int, c: int, k: int) -> float:
    """Chance that k of n answers, drawn without putting back, hold one of the c right ones: 1 - C(n-c, k) / C(n, k).

    The unbiased estimate of Chen et al., Evaluating Large Language Models Trained on Code (2021), section 2.1.
    Raises ValueError where 0 <= c <= n and 1 <= k <= n do not hold: fewer answers than k say nothing of pass@k.
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise ValueError(f"pass@{k} of {n} answers, {c} of them right")
    none = 1.0
    for taken in range(k):
        none *= max(n - c - taken, 0) / (n - taken)
    return 1.0 - none
