"""A file of a table for spreadsheets: texts of anybody are no formulas."""

from __future__ import annotations

import pyarrow as pa

from pipeline.web.downloads import _written


def test_a_text_that_a_spreadsheet_would_run_is_written_as_a_text() -> None:
    texts = ['=HYPERLINK("http://x")', "@SUM(1)", "-1+1", "\tx", "saw-1", "a=b", None]
    table = pa.table({"note": texts, "good": [-1] * len(texts)})
    lines = _written(table, "csv").decode().splitlines()
    assert lines[1:5] == ['"\'=HYPERLINK(""http://x"")",-1', '"\'@SUM(1)",-1', '"\'-1+1",-1', '"\'\tx",-1']
    assert lines[5:] == ['"saw-1",-1', '"a=b",-1', ",-1"]
