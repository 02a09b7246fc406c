"""Texts of a labelled record as a network reads them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tokenizers import Encoding

from stemma.data import Ids
from stemma.objectives import needs
from stemma.objectives.example import Example
from stemma.objectives.prefixed import with_prefix
from stemma.objectives.vocabulary import Vocabulary
from stemma.spec.architecture import Architecture
from stemma.spec.lineage import Shape
from stemma.spec.parts import EncoderDecoder, RelativeSinusoidal
from stemma.spec.recurrent_parts import Characters
from stemma.text import Tokenizer


@dataclass(frozen=True)
class Scribe:
    """Writes texts down for one network.

    Args:
        tokenizer: its tokenizer.
        vocabulary: the same as arrays.
        spec: its architecture.
        length: the most tokens of a text, virtual and special ones counted.
        virtual: ids that stand before each text, such as those of a soft prompt.
        begun: such ids with which the decoder of a pair begins.
    """

    tokenizer: Tokenizer
    vocabulary: Vocabulary
    spec: Shape
    length: int
    virtual: tuple[int, ...] = ()
    begun: tuple[int, ...] = ()

    def encode(self, firsts: Sequence[str], seconds: Sequence[str] | None = None) -> list[Encoding]:
        """Each text, or pair of texts, with special tokens, cut to the length: of a pair the longer part first.

        Args:
            firsts: texts.
            seconds: as many.
        """
        backend = self.tokenizer.backend
        room = self.length - len(self.virtual) - backend.num_special_tokens_to_add(seconds is not None)
        cut = []
        parts = [backend.encode_batch(list(texts), add_special_tokens=False) for texts in (firsts, seconds or ())]
        for number, first in enumerate(parts[0]):
            second = parts[1][number] if seconds is not None else None
            kept = len(second.ids) if second else 0
            first.truncate(max(room - kept, room // 2) if second else room)
            if second:
                second.truncate(room - len(first.ids))
            cut.append(backend.post_process(first, second, True))
        return cut

    def example(self, ids: Sequence[int], kinds: Sequence[int] | None = None) -> Example:
        """A text as a document of its own, behind the virtual tokens, without targets.

        Args:
            ids: of its tokens.
            kinds: the segment of each, where they are several.
        """
        spec, n_virtual = self.spec, len(self.virtual)
        tokens: Any = np.concatenate((self.virtual, ids)).astype(np.int64)
        inputs = {"tokens": self._spelt(tokens), "documents": np.zeros(len(tokens), dtype=np.int64)}
        if isinstance(spec, Architecture):
            if kinds is not None and self._tells_segments:
                inputs["segments"] = np.concatenate((np.zeros(n_virtual), kinds)).astype(np.int64)
            if spec.embedding.languages:
                inputs["languages"] = np.zeros(len(tokens), dtype=np.int64)
            if isinstance(spec.stacks, EncoderDecoder):
                start = needs.held(self.vocabulary.start)
                inputs["decoder_tokens"] = np.concatenate(([start], tokens[:-1])).astype(np.int64)
        return Example(inputs)

    def finish(self, examples: Iterable[list[Example]]) -> list[list[Example]]:
        """Examples of a task, the decoder's texts behind the ids with which they begin."""
        if not self.begun:
            return list(examples)
        return [[with_prefix(one, self.begun, "decoder_tokens") for one in several] for several in examples]

    @property
    def packs(self) -> bool:
        """Whether texts may share a row."""
        return isinstance(self.spec, Architecture) and not isinstance(self.spec.stacks, EncoderDecoder)

    @property
    def _tells_segments(self) -> bool:
        spec = self.spec
        assert isinstance(spec, Architecture), "recurrent networks read no segments"
        relative = isinstance(spec.position, RelativeSinusoidal) and spec.position.segments
        return spec.embedding.segments > 1 or bool(relative)

    def _spelt(self, tokens: Ids) -> Any:
        spelt = self.vocabulary.spelt
        reads = not isinstance(self.spec, Architecture) and isinstance(self.spec.tokens, Characters)
        return spelt[tokens] if reads and spelt is not None else tokens
