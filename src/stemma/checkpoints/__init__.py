"""Folders and files on disk to models, and back."""

from stemma.checkpoints.architecture_json import decode_architecture, encode_architecture
from stemma.checkpoints.elmo import read_elmo, write_elmo
from stemma.checkpoints.gguf import read_gguf
from stemma.checkpoints.hf import read_folder, write_folder
from stemma.checkpoints.sources import Source, locate
from stemma.checkpoints.stored import Stored

__all__ = [
    "Source",
    "Stored",
    "decode_architecture",
    "encode_architecture",
    "locate",
    "read_elmo",
    "read_folder",
    "read_gguf",
    "write_elmo",
    "write_folder",
]
