"""Tokenizers that are awkward on purpose."""

from __future__ import annotations

from collections.abc import Sequence


class Spaced:
    """A byte-pair tokenizer in small: a token is a word with its space or without; those without may merge."""

    def __init__(self, words: Sequence[str]) -> None:
        self.pieces = [*words, *(" " + word for word in words), "<|end|>", "\ufffd"]
        self.ids = {piece: at for at, piece in enumerate(self.pieces)}

    def encode(self, text: str) -> list[int]:
        """The longest piece first; what is in none of them counts as a token a character."""
        ids, at = [], 0
        while at < len(text):
            size = next((n for n in range(12, 0, -1) if text[at : at + n] in self.ids), 1)
            ids.append(self.ids.get(text[at : at + size], -1))
            at += size
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        return "".join(self.pieces[at] for at in ids)

    def count(self, text: str) -> int:
        return len(self.encode(text))

    def vocabulary(self) -> list[int]:
        return list(range(len(self.pieces) - 2))


LETTERS = [chr(97 + at) for at in range(26)]


class Merging(Spaced):
    """No spaces at all: single letters and pairs of them, so that what is decoded is often encoded shorter."""

    def __init__(self) -> None:
        super().__init__([])
        pairs = [a + b for a in LETTERS for b in LETTERS if (ord(a) * 7 + ord(b) * 3) % 5 == 0]
        self.pieces = [*LETTERS, *pairs, "<|end|>", "\ufffd"]
        self.ids = {piece: at for at, piece in enumerate(self.pieces)}
