"""A study on this machine, by its own command line, is killed in the middle and started again."""

import pytest

from tests.fixtures import studies


@pytest.mark.fault("a study is killed (SIGKILL) while its second run trains")
def test_a_killed_study_goes_on_where_it_was(tmp_path, seen):
    before, after = studies.killed_and_started_again(tmp_path / "out")
    seen(studies.check(before, after, tmp_path / "out"))
