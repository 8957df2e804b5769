"""`python -m wdtui.problems.describe`: a source as JSON on stdin, what it declares as JSON on stdout.

What the file prints goes to stderr, so that stdout has the answer alone.
"""

from __future__ import annotations

import json
import os
import sys

from wdtui.problems.declared import declared
from wdtui.problems.user_code import load
from wdtui.schema.hyperparameters import ConfigError
from wdtui.schema.source import Source
from wdtui.support.errors import WdtuiError


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    source = Source(**json.load(sys.stdin))
    try:
        answer = {"schema": described(source)}
    except WdtuiError as error:
        answer = {"error": str(error)}
    answers.write(json.dumps(answer))
    answers.close()
    os._exit(0)  # threads and exit handlers of the file are not waited for


def described(source: Source) -> str:
    """What the class of a source declares, as JSON. Raises UserCodeError and ConfigError."""
    problem = load(source)
    named = Source(source.path, problem.__name__, source.files)
    try:
        return declared(problem, named).to_json()
    except ConfigError as error:
        raise ConfigError(f"{source.shown}, {problem.__name__}: {error}", *error.fields) from error


if __name__ == "__main__":
    main()
