"""The rules of the house that no other tool checks."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src" / "stemma"
FILES = sorted(SOURCE.rglob("*.py"))
LONGEST = 350
VAGUE = {"utils", "util", "common", "misc", "helpers"}


def name(path: Path) -> str:
    return str(path.relative_to(SOURCE))


def imported(tree: ast.AST) -> set[str]:
    """The top-level packages that a file imports anywhere."""
    nodes = list(ast.walk(tree))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {module.split(".")[0] for module in plain | {n.module or "" for n in nodes if isinstance(n, ast.ImportFrom)}}


@pytest.mark.parametrize("path", FILES, ids=name)
def test_a_file_is_short_documented_and_free_of_transformers(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    assert len(text.splitlines()) <= LONGEST
    assert ast.get_docstring(tree)
    assert "transformers" not in imported(tree)
    assert path.stem not in VAGUE


@pytest.mark.parametrize("path", [path for path in FILES if path.name == "__init__.py"], ids=name)
def test_a_package_file_only_exports(path: Path) -> None:
    """Imports and __all__; the top package may look its names up when they are first used, which takes __getattr__."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        match node:
            case ast.Import() | ast.ImportFrom() | ast.Assign() | ast.AnnAssign() | ast.Expr(value=ast.Constant()):
                continue
            case ast.If(test=ast.Name(id="TYPE_CHECKING")):
                continue
            case ast.FunctionDef(name="__getattr__" | "__dir__") if path.parent == SOURCE:
                continue
            case _:
                pytest.fail(f"line {node.lineno} does more than export")


def loaded_after(statement: str, folder: Path) -> set[str]:
    """The modules that a fresh interpreter holds after a statement that it runs in a folder."""
    script = f"import sys\n{statement}\nprint(*sys.modules, sep='\\n', file=sys.stderr)"
    call = [sys.executable, "-c", script]
    ended = subprocess.run(call, cwd=folder, capture_output=True, text=True, check=True)
    return set(ended.stderr.split())


def test_importing_stemma_imports_no_torch(tmp_path: Path) -> None:
    assert not {"torch", "transformers", "huggingface_hub"} & loaded_after("import stemma", tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [
        ["tree"],
        ["tree", "--json"],
        ["tree", "--svg", "tree.svg"],
        ["info", "t5"],
        ["--help"],
        ["diff", "gpt2", "llama"],
        ["--version"],
    ],
)
def test_a_command_without_a_model_imports_no_torch(arguments: list[str], tmp_path: Path) -> None:
    loaded = loaded_after(f"from stemma.cli.main import run\nassert run({arguments}) == 0", tmp_path)
    assert "stemma.cli.main" in loaded
    assert not {"torch", "tokenizers", "transformers"} & loaded
