"""A label, as the likeliest of words at a mask."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from torch import Tensor
from torch.nn import functional

from stemma.data import Kind, Record
from stemma.errors import Fault, InputError
from stemma.objectives import needs
from stemma.objectives.example import Asked, Batch, Example, Targets
from stemma.objectives.lacking import Need, has, lacking
from stemma.objectives.objective import PRODUCTS, Setting
from stemma.objectives.tasks.classification import Classification
from stemma.objectives.tasks.frame import TextFrame
from stemma.objectives.tasks.scribe import Scribe
from stemma.objectives.tasks.shares import likeliest
from stemma.objectives.tasks.task import Task
from stemma.objectives.tasks.template import fill, gap_roles, template_faults
from stemma.spec.ends import MaskedLMHead
from stemma.text import Tokenizer

_MASK = "mask"


@dataclass(frozen=True, kw_only=True)
class Cloze(Task):
    """-log p(word of the label | text around a mask), a softmax over the labels' words (Schick and Schütze 2021, 3.1).

    Args:
        template: the text with a gap for the mask, as "{text} It was {mask}."
        words: the word of each label, one token; the label itself where it has none.
    """

    name: ClassVar[str] = "cloze"
    needs: ClassVar[Mapping[str, Kind]] = {"label": "label"}
    labelled: ClassVar[str] = "label"
    term: ClassVar[str] = "label"
    measures: ClassVar[str] = "accuracy"

    template: str = "{text} It was {mask}."
    words: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if faults := list(template_faults(self.template, _MASK)):
            raise InputError(self.name, faults)

    def faults(self, setting: Setting) -> list[Fault]:
        """A network that fills masks, and a token for them."""
        need = Need(has(setting.spec, MaskedLMHead), "a network that fills masks", "use an encoder's, with its head")
        return lacking(self.name, [need, *needs.roles(setting.vocabulary, _MASK)])

    def roles(self, records: bool = True) -> Mapping[str, Kind]:
        """What the template has gaps for, and the label."""
        held = gap_roles(self.template, _MASK)
        return {**held, **self.needs} if records else held

    def examples(self, records: Sequence[Record], scribe: Scribe) -> Iterator[list[Example]]:
        """Each text around a mask, asked for the label's word.

        Raises:
            InputError: naming each label whose word is not one token.
        """
        tokenizer = scribe.tokenizer
        frame, mask = TextFrame(tokenizer.backend, 1), needs.held(tokenizer.mask)
        words, given = self._words(tokenizer), {_MASK: tokenizer.token_of(mask)}
        room = scribe.length - len(scribe.virtual) - len(frame)
        for record in records:
            # A text may speak of masks; the template's alone is one.
            values = {name: record[name].replace(given[_MASK], "") for name in gap_roles(self.template, _MASK)}
            framed = frame.put(fill(self.template, values, tokenizer.backend, room, given))
            place = len(scribe.virtual) + int(np.flatnonzero(framed.ids == mask)[0])
            right = self.labels.index(record["label"]) if "label" in record else 0
            targets = Targets(np.array([[place, *words]]), np.array([right]))
            example = scribe.example(framed.ids.tolist(), framed.kinds.tolist())
            yield [example.change(targets={self.term: targets})]

    def scores(self, model: Any, output: Any, batch: Batch, asked: Asked) -> Tensor:
        """The scores of the labels' words, n N."""
        at = Asked(asked.rows, asked.places[:, 0], asked.ids)
        logits = functional.linear(*PRODUCTS["masked"](model, output, batch, at))
        return logits.gather(-1, asked.places[:, 1:])

    def cost(self, scores: Tensor, asked: Asked) -> Tensor:
        """Cross-entropy over the labels."""
        return functional.cross_entropy(scores, asked.ids, reduction="sum")

    def told(self, record: Record, asked: Sequence[Example], scores: Sequence[np.ndarray]) -> dict[str, float]:
        """Each label's probability, the likeliest first."""
        return likeliest(self.labels, scores[0][0])

    def measure(self, records: Sequence[Record], told: Sequence[Mapping[str, float]]) -> dict[str, float]:
        """As of classes."""
        return Classification(labels=self.labels).measure(records, told)

    def _words(self, tokenizer: Tokenizer) -> list[int]:
        """The token of each label's word, as it stands behind another word."""
        found, faults = [], []
        for label in self.labels:
            word = self.words.get(label, label)
            ids = [tokenizer.encode(form, add_special=False) for form in (f" {word}", word)]
            single = next((one[0] for one in ids if len(one) == 1), None)
            if single is None or single in tokenizer.special:
                spelt = [tokenizer.token_of(token) for token in ids[0]]
                faults.append(Fault(f"words.{label}", word, f"is not one token but {spelt}", "choose another word"))
            found.append(single or 0)
        if faults:
            raise InputError(self.name, faults)
        return found
