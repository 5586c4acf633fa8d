from __future__ import annotations

from dataclasses import replace

import pytest

from fedmed.errors import StoreError
from fedmed.privacy.sealing import SealBroken
from fedmed.store.archive.index import Index, Shelved, Standing

ONE = Shelved("ab" * 32, "1.2", 3, 300, 5.0, 9.0, Standing.LEAVING)
TWO = Shelved("cd" * 32, "1.2", 1, 10, 6.0, 9.5, Standing.AWAY)


def test_rows_by_name_by_study_and_by_where_they_stand(tmp_path):
    index = Index(tmp_path / "index", b"k" * 32)
    index.put([ONE, TWO])
    assert (index.rows(), index.of_study("1.2"), index.of_study("1")) == ([ONE, TWO], [ONE, TWO], [])
    assert (index.beginning("ab"), index.beginning("%"), index.unsettled(), index.away()) == ([ONE], [], [ONE], 1)
    index.put([replace(ONE, standing=Standing.AWAY)])
    assert (index.unsettled(), index.away(), index.names()) == ([], 4, {ONE.name, TWO.name})
    assert index.mark() is None
    index.set_mark("one")
    index.close()
    again = Index(tmp_path / "index", b"k" * 32)
    assert (again.mark(), again.beginning(TWO.name)) == ("one", [TWO])
    again.close()


def test_another_key_and_a_file_that_is_no_index(tmp_path):
    index = Index(tmp_path / "index", b"k" * 32)
    index.put([ONE])
    index.close()
    other = Index(tmp_path / "index", b"o" * 32)
    with pytest.raises(SealBroken):
        other.rows()
    other.close()
    (tmp_path / "other").write_bytes(b"no index" * 1000)
    with pytest.raises(StoreError, match="remove it: it is made anew"):
        Index(tmp_path / "other", b"k" * 32)
