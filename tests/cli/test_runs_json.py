"""`--json` of the commands on runs: what is stored, as it is stored."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from command_line import events, wdtui
from store_tools import CONFIG

from wdtui.schema.steering import Steering, to_json
from wdtui.store.store import Store

PLAN = (Steering(10, "weight_decay", 0.3, 0.1),)


@pytest.mark.parametrize("command", ["list", "show 1", "compare 1 2"])
def test_json_has_the_config_of_another_version_as_it_is_stored(command: str, tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.add_run(CONFIG, plan=PLAN)
        store.add_run(CONFIG)
    with sqlite3.connect(tmp_path / "wdtui.sqlite3") as connection:
        connection.execute("UPDATE runs SET config = json_set(config, '$.temperature', 1.5), seal = NULL WHERE id = 1")
    connection.close()
    result = wdtui("runs", *command.split(), "--json", store=tmp_path)
    assert result.returncode == 0, result.stderr
    configs = {row["id"]: row["config"] for row in events(result.stdout)}
    assert configs[1] == CONFIG.to_mapping() | {"temperature": 1.5}
    assert configs.get(2, CONFIG.to_mapping()) == CONFIG.to_mapping()
    assert {row["id"]: row["plan"] for row in events(result.stdout)}[1] == to_json(PLAN)
