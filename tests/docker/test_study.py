"""A study whose steps run in containers is killed in the middle and started again."""

import pytest

from tests.docker.test_images import engine  # noqa: F401
from tests.fixtures import studies

pytestmark = pytest.mark.docker


def test_a_killed_study_goes_on_where_it_was(tmp_path):
    before, after = studies.killed_and_started_again(tmp_path / "out", "--runner", "docker")
    print(studies.check(before, after, tmp_path / "out"))
