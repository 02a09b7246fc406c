"""A text out of a text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from tokenizers import Tokenizer as Backend
from torch import Tensor, nn

from stemma.data import Ids, Kind, Record
from stemma.errors import Fault, InputError
from stemma.metrics import accuracy, bleu, chrf
from stemma.objectives import needs
from stemma.objectives.example import Batch, Example, Targets
from stemma.objectives.lacking import Need, has, lacking
from stemma.objectives.objective import Setting, read_losses
from stemma.objectives.tasks.frame import TextFrame
from stemma.objectives.tasks.scribe import Scribe
from stemma.objectives.tasks.task import Task
from stemma.objectives.tasks.template import fill, gap_roles, template_faults
from stemma.spec.architecture import Architecture
from stemma.spec.ends import LanguageModelHead
from stemma.spec.lineage import Shape
from stemma.spec.parts import Decoder, EncoderDecoder


@dataclass(frozen=True, kw_only=True)
class TextToText(Task):
    """-sum_i log p(y_i | x, y_<i) of what is to be written (Raffel et al. 2020, section 2.4; Radford et al. 2018).

    An encoder reads the prompt, where there is one; a decoder alone reads both, and is asked for the answer.

    Args:
        template: the prompt; white space at its end stands before what is written.
        max_new_tokens: the most tokens of what is written, its end included.
    """

    name: ClassVar[str] = "text-to-text"
    needs: ClassVar[Mapping[str, Kind]] = {"target": "text"}
    term: ClassVar[str] = "text"
    measures: ClassVar[str] = "chrf"
    free: ClassVar[bool] = True
    """Whether any text may be the answer, so that it is written; else one of a few, which are scored."""

    template: str = "{text}"
    max_new_tokens: int = 64

    def __post_init__(self) -> None:
        faults = list(template_faults(self.template))
        if self.max_new_tokens < 1:
            faults.append(Fault("max_new_tokens", self.max_new_tokens, "must be at least 1", "the usual number is 64"))
        if faults:
            raise InputError(self.name, faults)

    def faults(self, setting: Setting) -> list[Fault]:
        """The network writes; and there is room for a prompt beside what it writes."""
        spec = setting.spec
        writes = isinstance(spec, Architecture) and isinstance(spec.stacks, Decoder | EncoderDecoder)
        wanted = [
            Need(writes and has(spec, LanguageModelHead), "a network that writes", "use a decoder's, with its head"),
            Need(self.max_new_tokens < setting.length, f"rows longer than {self.max_new_tokens}", "use longer rows"),
            needs.end(setting.vocabulary),
        ]
        if _is_pair(spec):
            wanted.append(needs.start(setting.vocabulary))
        return lacking(self.name, wanted)

    def roles(self, records: bool = True) -> Mapping[str, Kind]:
        """What the template has gaps for, and what is right."""
        held = gap_roles(self.template)
        return {**held, **self.needs} if records else held

    def examples(self, records: Sequence[Record], scribe: Scribe) -> Iterator[list[Example]]:
        """Each prompt with the text that is right."""
        for record in records:
            yield [self.asking(record, record["target"], scribe)]

    def prompt(self, record: Record, scribe: Scribe, writes: int | None = None) -> Ids:
        """What is read before anything is written; of an encoder with its end.

        Args:
            record: fills the template.
            scribe: writes it down.
            writes: tokens that follow in the same row; where not given, as many as the network has no room for.
        """
        frame, paired = TextFrame(scribe.tokenizer.backend, 1), _is_pair(scribe.spec)
        if writes is None:
            longest = getattr(scribe.spec, "max_tokens", None) or scribe.length + self.max_new_tokens
            writes = max(0, scribe.length + self.max_new_tokens - longest)
        room = scribe.length - len(scribe.virtual) - (len(frame) if paired else len(frame.before) + writes)
        values = {name: record[name] for name in gap_roles(self.template)}
        ids = fill(self.template.rstrip(), values, scribe.tokenizer.backend, room)
        return frame.put(ids).ids if paired else np.concatenate((frame.before, ids)).astype(np.int64)

    def asking(self, record: Record, target: str, scribe: Scribe) -> Example:
        """What is read, and the text that is right.

        Args:
            record: fills the template.
            target: the text.
            scribe: writes both down.
        """
        answer = self._answer(target, scribe)
        prompt = self.prompt(record, scribe, len(answer))
        if _is_pair(scribe.spec):
            before = np.concatenate(([needs.held(scribe.vocabulary.start)], answer[:-1])).astype(np.int64)
            example = scribe.example(prompt.tolist()).change(inputs={"decoder_tokens": before})
            places = np.arange(len(answer))
        else:
            example = scribe.example([*prompt, *answer[:-1]])
            places = np.arange(len(answer)) + len(scribe.virtual) + len(prompt) - 1
        return example.change(targets={self.term: Targets(places, answer)})

    def losses(self, model: Any, companions: nn.ModuleDict, batch: Batch) -> Mapping[str, Tensor]:
        """The sum over the tokens of what is right, in nats."""
        return read_losses(model, batch)

    def measure(self, records: Sequence[Record], told: Sequence[Any]) -> dict[str, float]:
        """The share of texts that are just right, chrF and BLEU."""
        right = [record["target"].strip() for record in records]
        references = [[one] for one in right]
        return {"exact_match": accuracy(right, told), "chrf": chrf(references, told), "bleu": bleu(references, told)}

    def _answer(self, target: str, scribe: Scribe) -> Ids:
        """Ids of a text with its end; behind a prompt with the white space that parts them."""
        backend, frame = scribe.tokenizer.backend, TextFrame(scribe.tokenizer.backend, 1)
        after = frame.after if len(frame.after) else np.array(scribe.vocabulary.frame.after, dtype=np.int64)
        gap = self.template[len(self.template.rstrip()) :]
        paired = _is_pair(scribe.spec)
        before = frame.before if paired else frame.before[:0]
        room = self.max_new_tokens - len(before) - len(after)
        ids = _ids(target, backend) if paired else _behind(gap, target, backend)
        return np.concatenate((before, ids[: max(room, 0)], after)).astype(np.int64)


def _behind(gap: str, target: str, backend: Backend) -> list[int]:
    """Ids of a text as it is cut behind another, with the white space between them."""
    before, whole = _ids("a", backend), _ids("a" + gap + target, backend)
    return whole[len(before) :] if whole[: len(before)] == before else _ids(gap + target, backend)


def _ids(text: str, backend: Backend) -> list[int]:
    found: list[int] = backend.encode(text, add_special_tokens=False).ids
    return found


def _is_pair(spec: Shape) -> bool:
    return isinstance(spec, Architecture) and isinstance(spec.stacks, EncoderDecoder)
