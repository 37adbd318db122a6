"""docs/python.md: its examples run in a row, and it leaves nothing out."""

from __future__ import annotations

import re
import subprocess
import sys

from lth_bench.results.by_experiment import SHOWN
from support.places import ROOT

PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")


def test_the_examples_run_one_after_the_other_as_a_script_without_a_guard(tmp_path):
    script = tmp_path / "script.py"
    script.write_text("\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.S)))
    done = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "magnitude" in done.stdout and "6/6" in done.stderr
    assert "['sparsities[0]: Input should be less than 1 (found: 1.5)']" in done.stdout
    assert not (tmp_path / "runs" / "four" / "records").exists()


def test_every_column_of_results_is_documented_once():
    rows = re.findall(r"^\| (`.*?) \|", PAGE.partition("\n## Results\n")[2].partition("\n## ")[0], re.MULTILINE)
    assert sorted(name for row in rows for name in re.findall("`(.+?)`", row)) == sorted(SHOWN)
