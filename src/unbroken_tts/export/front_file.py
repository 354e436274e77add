"""Makes one dependency-free Python file of the modules that make text ids."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Sequence
from types import ModuleType
from typing import Final

from unbroken_tts.export import hook
from unbroken_tts.prepare import amharic, characters, english, ethiopic_numbers, normalisation
from unbroken_tts.prepare.fronts import TextRules

NAME: Final = "unbroken_front.py"
"""Name of the file in an exported folder."""
# In the order of their imports of one another.
_MODULES: Final[tuple[ModuleType, ...]] = (
    characters, ethiopic_numbers, amharic, english, normalisation, hook,
)  # fmt: skip

_HEAD: Final = '''\
"""The text front end of the weights beside this file, for the inference program of IndexTTS2.

The weights were trained on texts that these rules had normalised (front end `{front}`, version
{scheme}). Start the program through this file, which changes nothing in it:

  python {name} webui.py --model_dir THIS_FOLDER

or add one line to a program of your own, after putting this folder on `sys.path`:

  import unbroken_front; unbroken_front.install()

`python {name} TEXT` shows what the model will read. Made by `unbroken-tts export`; needs Python 3.10
and nothing else.
"""

from __future__ import annotations

'''
_TAIL: Final = '\n\nif __name__ == "__main__":\n    main(sys.argv[1:])\n'


def front_file(rules: TextRules) -> str:
    """Return the source of the front end that an export carries.

    The functions are those of this project, taken from its modules; only their imports of one another
    are left out.

    Args:
        rules: Those of the training; their front end is that of this project.
    """
    imports: set[str] = set()
    bodies: list[str] = []
    for module in _MODULES:
        source = inspect.getsource(module)
        kept = _without_imports(source, imports)
        bodies.append(f"# --- {module.__name__}\n\n{kept}")
    languages = tuple(rules.languages) or ("am",)
    whole = "\n\n".join(bodies).replace(
        'LANGUAGES: tuple[str, ...] = ("am",)', f"LANGUAGES: tuple[str, ...] = {languages!r}"
    )
    head = _HEAD.format(front=rules.front, scheme=rules.scheme, name=NAME)
    return head + "\n".join(sorted(imports)) + "\n\n" + whole.rstrip() + _TAIL


def _without_imports(source: str, imports: set[str]) -> str:
    """Return a module's source without docstring and imports; those of the library are collected."""
    tree = ast.parse(source)
    lines: Sequence[str] = source.splitlines()
    dropped: set[int] = set()
    for number, node in enumerate(tree.body):
        is_docstring = number == 0 and isinstance(node, ast.Expr)
        if isinstance(node, ast.Import):
            imports.add(ast.unparse(node))
        elif isinstance(node, ast.ImportFrom):
            if node.module and not node.module.startswith(("unbroken_tts", "__future__")):
                imports.add(ast.unparse(node))
        elif not is_docstring:
            continue
        assert node.end_lineno is not None
        dropped.update(range(node.lineno, node.end_lineno + 1))
    kept = (line for number, line in enumerate(lines, start=1) if number not in dropped)
    return "\n".join(kept).strip("\n") + "\n"
