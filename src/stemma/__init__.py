"""The family tree of language models as running code."""
