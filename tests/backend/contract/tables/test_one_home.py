"""That a table is found where its name says."""

import re
from collections import defaultdict
from pathlib import Path

from backend.contract import migrations, tables

CONTRACT = Path(tables.__file__).parents[1]
WRITES = re.compile(r"\b(?:INSERT (?:OR \w+ )?INTO|UPDATE|DELETE FROM) (\w+)\b")
HOME = {"pictures": "samples", "project": "project_file", "pyramid_states": "pyramid"} | dict.fromkeys(
    ("series", "points", "batches"), "metrics"
)


def test_each_table_is_written_in_the_module_of_its_name():
    written = defaultdict(set)
    for module in CONTRACT.rglob("*.py"):
        for table in WRITES.findall(module.read_text()):
            written[table].add(module.stem)
    schema = migrations.VERSION_1 + migrations.VERSION_2
    expected = {table: {HOME.get(table, table)} for table in re.findall(r"CREATE TABLE (\w+)", schema)}
    expected["attempts"].add("metrics")  # the first and the last step, in the transaction that records them
    assert {table: written[table] for table in expected} == expected
