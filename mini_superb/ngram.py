"""A back-off n-gram language model of a few sentences, as ARPA text.

Witten-Bell smoothing: after a history h that was seen c times with t different words behind it, a
word seen there has the probability count / (c + t), and t / (c + t) is shared out over all other
words in proportion to their probability after the shorter history. Every history's probabilities
over the vocabulary, ``</s>`` and ``<unk>`` add up to one.
"""

import math
from collections import Counter, defaultdict

START, END, UNKNOWN = "<s>", "</s>", "<unk>"
Gram = tuple[str, ...]
_NEVER = -99.0  # log10 of the probability of <s>, which nothing predicts


class BackOff:
    """The model: ``log_probs`` of all seen n-grams and ``backoffs`` of all histories, log10."""

    def __init__(self, sentences: list[str], order: int) -> None:
        """Count and smooth; ValueError without sentences."""
        if not sentences:
            raise ValueError("no sentences to make a language model of; give some")
        self.order = order
        self.after: dict[Gram, Counter[str]] = defaultdict(Counter)  # history -> next words
        for text in sentences:
            words = [START, *text.split(), END]
            for place in range(1, len(words)):
                for size in range(min(order, place + 1)):
                    self.after[tuple(words[place - size : place])][words[place]] += 1
        self.log_probs: dict[Gram, float] = {(START,): _NEVER}
        self.backoffs: dict[Gram, float] = {}
        for history in sorted(self.after, key=len):
            self._smooth(history)

    def _smooth(self, history: Gram) -> None:
        """Set the probabilities after ``history`` and its back-off weight."""
        counts = self.after[history]
        total, kinds = sum(counts.values()), len(counts)
        for word, count in counts.items():
            self.log_probs[(*history, word)] = math.log10(count / (total + kinds))
        left = kinds / (total + kinds)
        if not history:
            self.log_probs[(UNKNOWN,)] = math.log10(left)
            return
        shorter = sum(10 ** self.score(history[1:], word) for word in counts)
        self.backoffs[history] = math.log10(left / (1 - shorter))

    def score(self, history: Gram, word: str) -> float:
        """Return log10 of the probability of ``word`` after ``history``."""
        history = history[-(self.order - 1) :] if self.order > 1 else ()
        if (*history, word) in self.log_probs:
            return self.log_probs[(*history, word)]
        if not history:
            return self.log_probs[(UNKNOWN,)]
        return self.backoffs.get(history, 0.0) + self.score(history[1:], word)

    def arpa(self) -> str:
        """Return the model in the ARPA format."""
        grams: dict[int, list[Gram]] = defaultdict(list)
        for gram in sorted(self.log_probs):
            grams[len(gram)].append(gram)
        lines = ["\\data\\", *(f"ngram {n}={len(grams[n])}" for n in sorted(grams)), ""]
        for size in sorted(grams):
            lines.append(f"\\{size}-grams:")
            for gram in grams[size]:
                backoff = f"\t{self.backoffs[gram]:.7f}" if gram in self.backoffs else ""
                lines.append(f"{self.log_probs[gram]:.7f}\t{' '.join(gram)}{backoff}")
            lines.append("")
        return "\n".join([*lines, "\\end\\", ""])
