"""What an encoder reads and a decoder is asked for."""

from __future__ import annotations

import numpy as np

from stemma.data import Ids
from stemma.objectives import needs
from stemma.objectives.example import Example, Targets
from stemma.objectives.vocabulary import Vocabulary


def answered(read: Ids, answer: Ids, vocabulary: Vocabulary) -> Example:
    """One text for the encoder, another asked of the decoder: after the start token, each token after those before it.

    Args:
        read: what the encoder is given.
        answer: what the decoder is asked for, to its end.
        vocabulary: which has the start token.
    """
    before = np.concatenate(([needs.held(vocabulary.start)], answer[:-1])).astype(np.int64)
    return Example({"tokens": read, "decoder_tokens": before}, {"text": Targets(np.arange(len(answer)), answer)})
