"""What the documentation tells people to type, taken out of it and classified; and the rules that shorten it."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
SHELLS = ("sh", "bash", "shell", "console", "zsh")
TINY = {"width": 8, "train_size": 320, "validation_size": 50, "test_size": 50, "epochs": 2}
"""What a run is made of here, instead of the article's size. Experiments keep their axes, and get this config."""
OTHERS = {"p": 7, "dimensions": 4, "steps": 4}
"""The same for the fields of other problems."""

_FLAGS = {f"--{name.replace('_', '-')}": value for name, value in TINY.items()} | {"--threads": 1}
SHORTER: dict[str, dict[str, object]] = {
    "run grokking-modular": {"--width": 4, "--threads": 1},
    "run": _FLAGS,
    "sweep": _FLAGS | {"--workers": 1},
    "experiments run": _FLAGS | {"--workers": 1},
    "experiments verify": {"--threads": 1},
    "bench": {"--widths": 8, "--models": 1, "--rounds": 3, "--threads": 1},
}
"""What is put after the words of a command, so that it takes a moment instead of minutes or hours."""
OF_A_FILE: dict[str, object] = {"--width": 4, "--steps": 4}
"""The same for a problem's file …"""
OF_A_NEW_FILE: dict[str, object] = {"--p": 7}
"""… and what is added for the one that `wdtui new` writes."""
OTHER_WORDS = {"8424": "10", "300": "10", "70200": "10", "40": "10", "67": "7", "1200": "20"}
"""Steps that a tiny run does not reach, and sizes that make a run long."""
VERDICTS = (0, 3)
"""Exit statuses of `experiments verify`: tiny networks bear out no claims. All else must end with 0."""

ELSEWHERE = {
    "CUDA_VISIBLE_DEVICES=": "needs a GPU",
    "WDTUI_TEST_DEVICE=cuda": "needs a GPU",
    "python -m wdtui.bench.gpu": "needs a GPU; test_gpu_script.py rehearses its parts",
    "ray start": "starts nodes that stay; test_ray.py starts nodes that end with it",
    "srun": "needs Slurm",
    "env WDTUI_TEST_DEVICE=cuda": "needs a GPU",
    "head=$(scontrol": "needs Slurm",
}
"""How commands begin that need other machines, and why they are not run."""
CHECKED = ("pytest", "ruff", "mypy", "lint-imports", "pip", "python3")
"""Programs that are not run here: their words are held to pyproject.toml and to the files of the project."""
EXCEPTIONS = {
    "wdtui --install-completion": "writes into the start-up file of whoever runs the tests; test_completion.py presses "
    "Tab as the shells do",
    "wdtui sweep lambda --headless --executor ray --address 10.0.0.1:6379": "test_ray.py joins a cluster",
    "wdtui plot 1 2 5 --metric edge --metric train_loss --output docs/figures/edge-of-stability.svg --force": "draws a "
    "fifth run, and a metric of another problem; the other figures of its page are drawn",
    "wdtui watch 3": "follows a live run until it ends, and this one does not; test_watch_command.py follows one",
    "wdtui store move ../new-place": "is refused while a run is live, as one is here; test_moving.py moves a store",
}
"""Commands that are only parsed, and why."""


@dataclasses.dataclass(frozen=True)
class Command:
    """One command of a page, without comments and redirections."""

    page: str
    words: tuple[str, ...]

    @property
    def program(self) -> str:
        return Path(self.words[0]).name

    @property
    def text(self) -> str:
        return shlex.join((self.program, *self.words[1:]))

    @property
    def kind(self) -> str:
        """app, wdtui, module, checked, exception or elsewhere; unknown is what nobody has thought of."""
        if self.text in EXCEPTIONS:
            return "exception"
        if " ".join(self.words).startswith(tuple(ELSEWHERE)):
            return "elsewhere"
        if self.program == "wdtui":
            return "app" if opens_app(self.words[1:]) else "wdtui"
        if self.program == "python" and self.words[1] == "-m" and self.words[2].startswith("wdtui."):
            return "module"
        if self.program in CHECKED:
            return "checked"
        return "unknown"

    @property
    def shortened(self) -> list[str]:
        """The arguments to wdtui, shortened by SHORTER and OTHER_WORDS; what is an axis stays one."""
        words = [OTHER_WORDS.get(word, word) for word in self.words[1:]]
        more = next((more for start, more in SHORTER.items() if self._starts(start)), {})
        if any(word.endswith(".py") for word in words):
            more = OF_A_FILE if words[0] in ("run", "sweep", "check") and "--help" not in words else {}
            more = more | (OF_A_NEW_FILE if more and "mine.py" in words else {})
            more = more | ({"--workers": 1} if words[0] == "sweep" else {})  # in threads, which share their generators
        axes = {f"--{word.partition('=')[0].replace('_', '-')}" for word in words if "=" in word}
        return words + [text for flag, value in more.items() if flag not in axes for text in (flag, str(value))]

    def _starts(self, start: str) -> bool:
        return list(self.words[1:])[: len(start.split())] == start.split()


def opens_app(arguments: tuple[str, ...]) -> bool:
    """Whether it is the app that these words ask for."""
    training = arguments[:1] in [(name,) for name in ("run", "sweep", "fork", "replay")]
    how = arguments[:1] in [(name,) for name in ("--fps", "--store", "--device", "--mouse", "--no-mouse", "--problem")]
    return not arguments or how or (training and not {"--headless", "--detach", "--help"} & set(arguments))


def fenced() -> list[Command]:
    """Every command of every fenced shell block, each once, in order."""
    found = [
        Command(page.relative_to(ROOT).as_posix(), words)
        for page in PAGES
        for language, block in fences(page)
        if language in SHELLS
        for line in block.replace("\\\n", " ").splitlines()
        for words in commands_of(line)
    ]
    return list({command.text: command for command in reversed(found)}.values())[::-1]


def inline() -> list[Command]:
    """Every `wdtui …` in the running text, placeholders and all."""
    found = []
    for page in PAGES:
        prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        for span in re.findall(r"`([^`]+)`", prose):
            if re.match(r"(\S*/)?wdtui( |$)", span):
                found += [Command(page.relative_to(ROOT).as_posix(), words) for words in commands_of(span)]
    return list({command.text: command for command in found}.values())


def fences(page: Path) -> list[tuple[str, str]]:
    """Language and text of every fenced block."""
    return re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def commands_of(line: str) -> Iterator[tuple[str, ...]]:
    """The commands of one line, which && and · separate."""
    lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars="&|;>")
    lexer.whitespace_split = True
    words: list[str] = []
    for word in [*lexer, "&&"]:
        if word not in ("&&", "·", ";"):
            words.append(word)
        elif words:
            yield tuple(words[: words.index(">")] if ">" in words else words)
            words = []
