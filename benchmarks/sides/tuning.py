"""One side of a comparison of LoRA tuning, as a process of its own: `python tuning.py ours|peft FOLDER`.

SmolLM2 becomes a classifier of SST-2's sentences; see `pretraining.py` for how a side is spoken to.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from frame import SHARED, THREADS
from pretraining import Pacing, peak_mib, say

ROWS, LENGTH, EVERY = 16, 128, 1
LORA: dict[str, Any] = dict(rank=8, alpha=16.0)
RATE = 5e-4
DATA = SHARED / "data" / "sst2" / "train.tsv"


def ours() -> None:
    """`stemma adapt`, held back between goes."""
    import torch

    from stemma.adaptation import LoRA
    from stemma.data import Labelled
    from stemma.objectives.tasks import Classification
    from stemma.training import AdamW
    from stemma.tuning import Adapt

    torch.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory() as folder:
        Adapt(
            model="smollm2", task=Classification(), learnt=Labelled(paths=(str(DATA),), fields={"text": 0, "label": 1}),
            adaptations=(LoRA(targets=("query", "value"), **LORA),), steps=10**6, rows=ROWS, length=LENGTH,
            optimiser=AdamW(lr=RATE, betas=(0.9, 0.999), weight_decay=0.0), precision="bfloat16", old=None,
            log_every=EVERY, folder=Path(folder) / "run",
        ).train([Pacing(EVERY)])  # fmt: skip


def peft(folder: str) -> None:
    """PEFT's LoRA under transformers' own Trainer.

    Args:
        folder: of the same checkpoint, as transformers reads it.
    """
    import torch
    import transformers
    from datasets_of import Sentences
    from peft import LoraConfig, get_peft_model

    torch.set_num_threads(THREADS)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, num_labels=2)
    model.config.pad_token_id = tokenizer.pad_token_id = tokenizer.pad_token_id or tokenizer.eos_token_id
    settings = LoraConfig(
        task_type="SEQ_CLS", r=LORA["rank"], lora_alpha=LORA["alpha"], target_modules=["q_proj", "v_proj"],
        lora_dropout=0.0,
    )  # fmt: skip
    counted = Counting(transformers.DataCollatorWithPadding(tokenizer))

    class Paced(transformers.TrainerCallback):  # type: ignore[misc]
        """Holds the Trainer back between goes."""

        def __init__(self) -> None:
            self.pacing = 0

        def on_step_end(self, arguments: Any, state: Any, control: Any, **_: Any) -> None:
            if state.global_step % EVERY:
                return
            self.pacing += 1
            tokens = counted.take()
            if self.pacing < 2:
                return
            if self.pacing == 2:
                Path("/proc/self/clear_refs").write_text("5")
            say({"tokens": tokens, "peak_mib": 0.0 if self.pacing == 2 else peak_mib()})
            if not sys.stdin.readline():
                sys.exit()

    with tempfile.TemporaryDirectory() as out:
        arguments = transformers.TrainingArguments(
            out, max_steps=10**6, per_device_train_batch_size=ROWS, learning_rate=RATE, weight_decay=0.0, bf16=True,
            use_cpu=True, report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True,
        )  # fmt: skip
        transformers.Trainer(
            get_peft_model(model, settings), arguments, counted, Sentences(DATA, tokenizer, LENGTH),
            callbacks=[Paced()],
        ).train()  # fmt: skip


class Counting:
    """A collator that counts the tokens that are no padding.

    Args:
        collate: the one that does the work.
    """

    def __init__(self, collate: Any) -> None:
        self.collate = collate
        self.tokens = 0.0

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> Any:
        batch = self.collate(rows)
        self.tokens += float(batch["attention_mask"].sum())
        return batch

    def take(self) -> float:
        """How many since this was last asked."""
        tokens, self.tokens = self.tokens, 0.0
        return tokens


if __name__ == "__main__":
    ours() if sys.argv[1] == "ours" else peft(sys.argv[2])
